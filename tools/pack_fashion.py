"""Pack a subset of Fashion-MNIST into the file that ships with `clmethods`.

    python tools/fetch_fashion_mnist.py --out build/fashion-mnist
    python tools/pack_fashion.py build/fashion-mnist

The first 200 training and 50 test images of every class, 28 x 28 grey, in the original's order.
Fashion-MNIST is by Zalando SE, under the MIT licence.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

COUNTS = {"train": 200, "t10k": 50}
TARGET = Path(__file__).resolve().parent.parent / "clmethods" / "data" / "files" / "fashion.npz"


def read(folder: Path, name: str, header: int) -> np.ndarray:
    data = gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(data, np.uint8, offset=header)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="with the four IDX files, packed")
    folder = parser.parse_args().folder
    rows: list[tuple[np.ndarray, int, bool]] = []
    for side, count in COUNTS.items():
        images = read(folder, f"{side}-images-idx3-ubyte", 16).reshape(-1, 28, 28)
        labels = read(folder, f"{side}-labels-idx1-ubyte", 8)
        for label in range(10):
            members = np.flatnonzero(labels == label)[:count]
            rows += [(images[i], label, side == "t10k") for i in members]
    rows.sort(key=lambda row: row[1:])  # by class, the training images first
    images, labels, test = (np.stack(column) for column in zip(*rows, strict=True))
    labels = labels.astype(np.uint8)
    np.savez_compressed(TARGET, images=images, labels=labels, test=test)
    digest = hashlib.sha256()
    for array in (images, labels, test):
        digest.update(np.ascontiguousarray(array).tobytes())
    print(f"{TARGET.name}: {len(labels)} images, {int(test.sum())} of them for the test")
    print("sha256 of the arrays:", digest.hexdigest())


if __name__ == "__main__":
    main()
