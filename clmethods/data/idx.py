"""IDX files, the format of the MNIST family, packed or not, in torchvision's places too."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clmethods.data.originals import hub_source, two_splits
from clmethods.data.source import DatasetError, Pixels, Source, missing, stamp_of
from clmethods.user_data.folder_listing import IDX_FILES, idx_file


def mnist(root: str | None) -> Source:
    """60,000 + 10,000 handwritten digits, 28 x 28 grey."""
    return named("mnist", root)


def fashion_mnist(root: str | None) -> Source:
    """60,000 + 10,000 pictures of clothes, 28 x 28 grey."""
    return named("fashion-mnist", root)


def kmnist(root: str | None) -> Source:
    """60,000 + 10,000 handwritten hiragana, 28 x 28 grey, 10 classes."""
    return named("kmnist", root)


def named(dataset: str, root: str | None) -> Source:
    """A member of the family below `root`, or the hub's Parquet files of it."""
    found = idx_source(root) or hub_source(root, ("image",), ("label",))
    if found is None:
        files = ", ".join(IDX_FILES)
        raise missing(dataset, root, f"{files} (each as it is or with .gz)")
    return found


def idx_source(root: str | None) -> Source | None:
    """The four files below `root`; None if one of them is not there."""
    if root is None:
        return None
    found = [idx_file(Path(root), name) for name in IDX_FILES]
    files = [path for path in found if path is not None]
    if len(files) < len(found):
        return None
    train_images, train_labels, test_images, test_labels = files
    train, test = read_idx(train_labels, 1), read_idx(test_labels, 1)

    def read() -> Pixels:
        images = [read_idx(path, 3) for path in (train_images, test_images)]
        if [len(part) for part in images] != [len(train), len(test)]:
            raise DatasetError(f"{root}: the numbers of images and of labels differ")
        return np.concatenate(images)

    return Source(
        labels=np.concatenate([train, test]).astype(np.int64),
        splits=two_splits(len(train), len(test)),
        read=read,
        stamp=stamp_of(*files),
    )


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file; raises `DatasetError` unless it is whole."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read()
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    start = 4 + 4 * rank
    if len(data) < start or data[:4] != bytes((0, 0, 8, rank)):
        raise DatasetError(f"{path} is no IDX file of unsigned bytes in {rank} dimensions")
    shape = struct.unpack(f">{rank}I", data[4:start])
    expected = int(np.prod(shape))
    if len(data) - start != expected:
        raise DatasetError(f"{path} is cut off: {len(data) - start} of {expected} bytes are there")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
