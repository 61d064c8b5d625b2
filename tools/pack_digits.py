"""Pack scikit-learn's handwritten digits into the file that ships with `clmethods`.

    python tools/pack_digits.py

The pictures are the UCI "Optical Recognition of Handwritten Digits" test set (CC BY 4.0), as
distributed with scikit-learn: 1797 grey images of 8 x 8 pixels with 17 levels. The test split is
fixed here, once: 40 images of every class, drawn by a seeded permutation.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TEST_PER_CLASS = 40
SEED = 0
TARGET = Path(__file__).resolve().parent.parent / "clmethods" / "data" / "files" / "digits.npz"


def main() -> None:
    digits = load_digits()
    labels = digits.target.astype(np.uint8)
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # 0..16 becomes 0..255
    test = np.zeros(len(labels), dtype=bool)
    generator = np.random.default_rng(SEED)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        test[generator.permutation(members)[:TEST_PER_CLASS]] = True
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(TARGET, images=images, labels=labels, test=test)
    print(f"{TARGET.name}: {len(labels)} images, {int(test.sum())} of them for the test")
    print("sha256 of the arrays:", arrays_sha256(images, labels, test))


def arrays_sha256(images: np.ndarray, labels: np.ndarray, test: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in (images, labels, test):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
