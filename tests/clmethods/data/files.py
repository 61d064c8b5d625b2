"""Small datasets in the formats of the originals, made of noise that tells images apart."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Array = np.ndarray


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels_of(classes: int, each: int) -> list[int]:
    return [label for label in range(classes) for _ in range(each)]


def write_png(path: Path, picture: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def write_folder(root: Path, classes: int, each: int, size: tuple[int, int] = (12, 10)) -> None:
    """`each` colour pictures of every class, in the folders class00, class01, ..."""
    for label in range(classes):
        for index in range(each):
            picture = noise(*size, 3, seed=1000 * label + index)
            write_png(root / f"class{label:02d}" / f"{index:02d}.png", picture)


def write_cifar(folder: Path, names: dict[str, int], key: bytes, classes: int) -> None:
    """Batches with so many images of each class, as protocol 2 of Python 2 wrote them."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, each) in enumerate(names.items()):
        labels = labels_of(classes, each)
        batch = {b"data": noise(len(labels), 3072, seed=seed), key: labels}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_idx(root: Path, classes: int = 10, each: int = 3, packed: bool = True) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for seed, side in enumerate(("train", "t10k")):
        labels = np.array(labels_of(classes, each), np.uint8)
        images = noise(len(labels), 28, 28, seed=seed)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            data = header + array.tobytes()
            path = root / f"{side}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data, 1) if packed else data)


def write_svhn(root: Path, each: int = 2, images: Array | None = None) -> None:
    """Label 10 stands for the digit 0, and images come last in the array."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, side in enumerate(("train", "test")):
        labels = [label or 10 for label in labels_of(10, each)]
        found = noise(32, 32, 3, len(labels), seed=seed) if images is None else images
        savemat(root / f"{side}_32x32.mat", {"X": found, "y": np.array(labels)[:, None]})
