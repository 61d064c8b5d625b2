"""Readers of CIFAR-10 and CIFAR-100: torchvision's folders, original archives, or hub files."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clmethods.data.originals import check_md5, first_folder, hub_source, two_splits
from clmethods.data.pickles import load_arrays
from clmethods.data.source import DatasetError, Pixels, Source, missing, stamp_of


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of the files of CIFAR-10 or CIFAR-100, and of the key of the labels."""

    name: str
    """Name of the dataset."""
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    label: bytes
    """Key of the labels in a batch."""


CIFAR10 = Layout(
    "cifar10",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test_batch",
    b"labels",
)
CIFAR100 = Layout(
    "cifar100",
    "cifar-100-python",
    "cifar-100-python.tar.gz",
    ("train",),
    "test",
    b"fine_labels",
)

MD5 = {
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
"""Published MD5 checksums of the archives and of their files."""


def cifar10(root: str | None) -> Source:
    """Read CIFAR-10: 50,000 + 10,000 color photographs of 32 x 32 pixels, 10 classes."""
    return _source(root, CIFAR10)


def cifar100(root: str | None) -> Source:
    """Read CIFAR-100: 50,000 + 10,000 color photographs of 32 x 32 pixels, 100 fine classes."""
    return _source(root, CIFAR100)


def _source(root: str | None, layout: Layout) -> Source:
    files = _files(root, layout)
    if not files:
        source = hub_source(root, ("img", "image"), ("fine_label", "label"))
        if source is None:
            what = f"{layout.archive}, the unpacked folder {layout.folder}, or the hub's Parquet"
            raise missing(layout.name, root, f"{what} files train-*.parquet and test-*.parquet")
        return source
    batches = _batches(files, layout)
    labels = [_labels(batch[layout.label], files[0]) for batch in batches]
    test = len(labels[-1])
    total = sum(map(len, labels))

    def read() -> Pixels:
        return np.concatenate([_images(batch, files[0]) for batch in _batches(files, layout)])

    return Source(
        labels=np.concatenate(labels),
        splits=two_splits(total - test, test),
        read=read,
        stamp=stamp_of(*files),
    )


def _files(root: str | None, layout: Layout) -> tuple[Path, ...]:
    """Return the batches with the test batch last, or the archive, or nothing."""
    folder = first_folder(root, (layout.folder,), layout.test)
    if folder is not None:
        batches = tuple(folder / name for name in (*layout.train, layout.test))
        if all(path.is_file() for path in batches):
            return batches
    archive = Path(root or "") / layout.archive
    return (archive,) if root is not None and archive.is_file() else ()


def _batches(files: tuple[Path, ...], layout: Layout) -> list[dict[bytes, Any]]:
    if files[0].name != layout.archive:
        parts = [(path, path.read_bytes()) for path in files]
    else:
        (archive,) = files
        check_md5(archive, archive.read_bytes(), MD5.get(archive.name))
        try:
            with tarfile.open(archive) as tar:
                parts = [
                    (archive / name, _member(tar, f"{layout.folder}/{name}"))
                    for name in (*layout.train, layout.test)
                ]
        except (tarfile.TarError, KeyError, EOFError, OSError) as error:
            raise DatasetError(
                f"{archive} is not a complete archive: {error}. Download it again."
            ) from error
    batches: list[dict[bytes, Any]] = []
    for path, data in parts:
        batch = load_arrays(check_md5(path, data, MD5.get(path.name)), str(path))
        if not isinstance(batch, dict) or b"data" not in batch or layout.label not in batch:
            raise DatasetError(f"{path} is not a batch of {layout.name}. Download it again.")
        batches.append(batch)
    return batches


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


def _labels(values: Any, path: Path) -> NDArray[np.int64]:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise DatasetError(f"{path}: labels must be a list of class ids")
    return np.array(values, np.int64)


def _images(batch: dict[bytes, Any], path: Path) -> Pixels:
    """Convert the rows (n, 3072) of a batch, channel after channel, to images (n, 32, 32, 3)."""
    data = batch[b"data"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        raise DatasetError(f"{path}: images must be rows of 3072 bytes")
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
