"""Listing of the four IDX files of a dataset in the format of MNIST."""

from __future__ import annotations

import struct
from pathlib import Path

from clmethods.errors import refuse
from clmethods.user_data.folder_listing import (
    TEST,
    TRAIN,
    Listing,
    cached_listing,
    fingerprint_of,
    refused,
    untrainable,
)
from clmethods.user_data.gzip_files import read_gzip

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""File names of datasets in the format of MNIST; each may also end in .gz."""


def list_idx(root: str) -> Listing:
    """List the four files of a dataset in the format of MNIST. Only the labels are read.

    Raises `InvalidConfigError` if a file is missing or damaged.
    """
    return cached_listing("idx", root, _list_idx)


def idx_file(root: Path, name: str) -> Path | None:
    """Return the path of one of `IDX_FILES`, compressed or not; None if it is missing.

    The folders that torchvision uses below `root` are searched as well.
    """
    for folder in (root, root / "raw", *sorted(root.glob("*/raw"))):
        for spelling in (name, name.replace("-idx", ".idx")):
            for suffix in ("", ".gz"):
                if (path := folder / f"{spelling}{suffix}").is_file():
                    return path
    return None


def idx_labels(path: Path) -> bytes:
    """Return the labels in an IDX file of rank 1, one byte per label.

    Raises `InvalidConfigError` if the file cannot be read or has another format.
    """
    try:
        data = read_gzip(path)
    except (OSError, EOFError) as error:
        raise refused("root", str(path), "a readable IDX file", f"{error}.") from error
    header = struct.pack(">HBBI", 0, 8, 1, max(len(data) - 8, 0))  # bytes, rank 1, length
    if data[:8] != header:
        constraint = "a complete IDX file of unsigned bytes with rank 1"
        raise refused("root", str(path), constraint, "Restore the original file.")
    return data[8:]


def _list_idx(root: Path) -> tuple[Listing, list[Path]]:
    paths = {name: idx_file(root, name) for name in IDX_FILES}
    files = [path for path in paths.values() if path is not None]
    if len(files) < len(paths):
        missing = ", ".join(name for name, path in paths.items() if path is None)
        raise refused(
            "root", str(root), "a folder with the four IDX files", f"Missing: {missing}."
        )
    train, test = (idx_labels(files[index]) for index in (1, 3))
    labels = tuple(train + test)
    splits = (TRAIN,) * len(train) + (TEST,) * len(test)
    classes = tuple(str(label) for label in range(max(labels) + 1))
    refuse(untrainable("root", str(root), classes, zip(labels, splits, strict=True)))
    version = fingerprint_of(((path.name, path.stat().st_size) for path in files), train, test)
    return Listing(
        base=root,
        classes=classes,
        paths=(),
        labels=labels,
        splits=splits,
        version=version,
        resize="stretch",
        files=tuple(path.relative_to(root).as_posix() for path in files),
    ), [root, *files]
