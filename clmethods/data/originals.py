"""Shared functions of dataset readers: search for files, checksums, Parquet files of the hub."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clmethods.data.pixel_limit import require_decodable
from clmethods.data.source import DatasetError, Pixels, Source, stamp_of
from clmethods.user_data.folder_listing import TEST, TRAIN
from clmethods.user_data.parquet_columns import ParquetError, read_parquet


def first_folder(root: str | None, names: Sequence[str], inside: str) -> Path | None:
    """Return the first of `root` and its subfolders `names` that contains `inside`, or None."""
    if root is None:
        return None
    base = Path(root)
    folders = (base, *(base / name for name in names))
    return next((path for path in folders if os.path.exists(path / inside)), None)


def require_files(dataset: str, files: Sequence[Path]) -> None:
    """Raise `DatasetError` if some of the listed images do not exist."""
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        raise DatasetError(
            f"{dataset}: {len(absent)} listed images are missing: {absent[0]}, ... "
            "Complete the copy."
        )


def check_md5(path: Path, data: bytes, expected: str | None) -> bytes:
    """Return `data` if it has the MD5 checksum `expected`; None skips the check.

    Raises `DatasetError` if the checksum differs.
    """
    if expected is not None:
        actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if actual != expected:
            raise DatasetError(
                f"{path} is damaged or another version: its MD5 is {actual}, the original has "
                f"{expected}. Download it again, or read a variant with dataset: image-folder."
            )
    return data


def hub_source(root: str | None, image: Sequence[str], label: Sequence[str]) -> Source | None:
    """Return the source of the hub's files train-*.parquet and test-*.parquet below `root`.

    `image` and `label` are the possible names of the two columns. Returns None if there are no
    such files.
    """
    if root is None:
        return None
    train, test = (sorted(Path(root).rglob(f"{side}-*.parquet")) for side in ("train", "test"))
    if not train or not test:
        return None
    labels: list[int] = []
    splits: list[int] = []
    for side, paths in ((TRAIN, train), (TEST, test)):
        for path in paths:
            column = _column(path, label)
            labels += [_label(v, f"row {row} of {path}") for row, v in enumerate(column, start=1)]
            splits += [side] * len(column)

    def read() -> Pixels:
        pictures = []
        for path in (*train, *test):
            for row, cell in enumerate(_column(path, image), start=1):
                pictures.append(_picture(cell, f"row {row} of {path}"))
        if len({picture.shape for picture in pictures}) > 1:
            raise DatasetError(
                f"{root}: the images differ in size. Extract them to a folder per class, and read "
                "it with dataset: image-folder."
            )
        return np.stack(pictures)

    return Source(
        labels=np.array(labels, np.int64),
        splits=np.array(splits, np.int8),
        read=read,
        stamp=stamp_of(*train, *test),
    )


def _column(path: Path, names: Sequence[str]) -> list[object]:
    try:
        columns = read_parquet(path, tuple(names))
    except ParquetError as error:
        raise DatasetError(str(error)) from error
    if not columns:
        raise DatasetError(f"{path} has no column {' or '.join(names)}")
    return next(columns[name] for name in names if name in columns)


def _label(value: object, what: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise DatasetError(f"{what}: the label is {str(value)[:40]!r}, allowed: a class id")


def _picture(cell: object, what: str) -> Pixels:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    try:
        with Image.open(io.BytesIO(data)) as image:  # type: ignore[arg-type]  # checked by Pillow
            require_decodable(image)
            return np.asarray(image if image.mode in {"L", "RGB"} else image.convert("RGB"))
    except (OSError, TypeError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{what}: not a readable image: {error}") from error


def two_splits(train: int, test: int) -> NDArray[np.int8]:
    """Return the split codes (train + test,) of `train` training and `test` test images."""
    return np.repeat(np.array([TRAIN, TEST], np.int8), [train, test])
