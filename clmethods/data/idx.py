"""Readers of MNIST, Fashion-MNIST and KMNIST, and of IDX files, the format of MNIST."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clmethods.data.originals import hub_source, two_splits
from clmethods.data.source import DatasetError, Pixels, Source, missing, stamp_of
from clmethods.user_data.gzip_files import read_gzip
from clmethods.user_data.idx_listing import IDX_FILES, idx_file


def mnist(root: str | None) -> Source:
    """Read MNIST: 60,000 + 10,000 handwritten digits, 28 x 28 gray."""
    return idx_dataset("mnist", root)


def fashion_mnist(root: str | None) -> Source:
    """Read Fashion-MNIST: 60,000 + 10,000 images of clothes, 28 x 28 gray."""
    return idx_dataset("fashion-mnist", root)


def kmnist(root: str | None) -> Source:
    """Read KMNIST: 60,000 + 10,000 handwritten hiragana, 28 x 28 gray, 10 classes."""
    return idx_dataset("kmnist", root)


def idx_dataset(dataset: str, root: str | None) -> Source:
    """Read a dataset from its IDX files below `root`, or from the Parquet files of the hub.

    Raises `MissingDataError` if there are no such files.
    """
    source = idx_source(root) or hub_source(root, ("image",), ("label",))
    if source is None:
        files = ", ".join(IDX_FILES)
        raise missing(dataset, root, f"{files} (each of them may end in .gz)")
    return source


def idx_source(root: str | None) -> Source | None:
    """Return the source of the four IDX files below `root`; None if a file is missing."""
    if root is None:
        return None
    paths = [idx_file(Path(root), name) for name in IDX_FILES]
    files = [path for path in paths if path is not None]
    if len(files) < len(paths):
        return None
    train_images, train_labels, test_images, test_labels = files
    train, test = read_idx(train_labels, 1), read_idx(test_labels, 1)

    def read() -> Pixels:
        images = [read_idx(path, 3) for path in (train_images, test_images)]
        if [len(part) for part in images] != [len(train), len(test)]:
            raise DatasetError(
                f"{root}: the numbers of images and labels differ. Restore the original files."
            )
        return np.concatenate(images)

    return Source(
        labels=np.concatenate([train, test]).astype(np.int64),
        splits=two_splits(len(train), len(test)),
        read=read,
        stamp=stamp_of(*files),
    )


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """Return the array of unsigned bytes in an IDX file with `rank` dimensions.

    Raises `DatasetError` if the file is incomplete or has another format.
    """
    try:
        data = read_gzip(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    start = 4 + 4 * rank
    if len(data) < start or data[:4] != bytes((0, 0, 8, rank)):
        raise DatasetError(f"{path} is not an IDX file of unsigned bytes with {rank} dimensions")
    shape = struct.unpack(f">{rank}I", data[4:start])
    expected = math.prod(shape)
    if len(data) - start != expected:
        raise DatasetError(f"{path} is incomplete: it has {len(data) - start} of {expected} bytes")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
