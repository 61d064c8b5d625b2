"""What the readers of originals share: finding files, checksums, columns of the hub's files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clmethods.data.source import DatasetError, Pixels, Source, stamp_of
from clmethods.user_data.folder_listing import TEST, TRAIN
from clmethods.user_data.parquet_columns import ParquetError, read_parquet


def first_folder(root: str | None, names: Sequence[str], inside: str) -> Path | None:
    """`root` or a folder of one of the names below it: the first that contains `inside`."""
    if root is None:
        return None
    base = Path(root)
    return next((p for p in (base, *(base / n for n in names)) if (p / inside).exists()), None)


def check_md5(path: Path, data: bytes, expected: str | None) -> bytes:
    """`data`, if it is what the publisher's MD5 says; no check where none is published."""
    if expected is not None:
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != expected:
            raise DatasetError(
                f"{path} is damaged or another version: its MD5 is {found}, that of the original "
                f"{expected}. Fetch it again; a variant of your own can be read as image-folder."
            )
    return data


def hub_source(root: str | None, image: Sequence[str], label: Sequence[str]) -> Source | None:
    """The Parquet files of the Hugging Face hub: train-*.parquet and test-*.parquet below `root`.

    `image` and `label` are names that the columns may have. None if there are no such files.
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
            found = _column(path, label)
            labels += [int(str(value)) for value in found]
            splits += [side] * len(found)

    def read() -> Pixels:
        pictures = []
        for path in (*train, *test):
            for row, cell in enumerate(_column(path, image), start=1):
                pictures.append(_picture(cell, f"row {row} of {path}"))
        if len({picture.shape for picture in pictures}) > 1:
            raise DatasetError(f"{root}: images differ in size; extract them to an image-folder")
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


def _picture(cell: object, what: str) -> Pixels:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    try:
        with Image.open(io.BytesIO(data)) as image:  # type: ignore[arg-type]  # checked by Pillow
            return np.asarray(image if image.mode in {"L", "RGB"} else image.convert("RGB"))
    except (OSError, TypeError, ValueError, SyntaxError) as error:
        raise DatasetError(f"{what}: not a readable image: {error}") from error


def two_splits(train: int, test: int) -> NDArray[np.int8]:
    """(train + test,) split codes."""
    return np.repeat(np.array([TRAIN, TEST], np.int8), [train, test])
