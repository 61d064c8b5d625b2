"""Readers of datasets with one folder of images per class and without a test split."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from clmethods.data.source import DatasetError, Source, missing
from clmethods.errors import InvalidConfigError
from clmethods.user_data.class_folders import list_folder
from clmethods.user_data.folder_listing import OPEN, Listing

UNREADABLE = frozenset(
    {
        "A/RGVtb2NyYXRpY2FCb2xkT2xkc3R5bGUgQm9sZC50dGY=.png",
        "F/Q3Jvc3NvdmVyIEJvbGRPYmxpcXVlLnR0Zg==.png",
    }
)
"""Two files of notMNIST (small) that are empty in the original. They are always excluded."""


def imagenet_r(root: str | None) -> Source:
    """Read ImageNet-R: 30,000 renditions of 200 ImageNet classes, sorted by folder name."""
    return _classes("imagenet-r", root, "imagenet-r.tar or its folder imagenet-r with 200 folders")


def imagenet_a(root: str | None) -> Source:
    """Read ImageNet-A: 7,500 adversarial photographs of 200 classes, sorted by folder name."""
    return _classes("imagenet-a", root, "imagenet-a.tar or its folder imagenet-a with 200 folders")


def notmnist(root: str | None) -> Source:
    """Read notMNIST (small): about 18,700 letters A to J in various fonts, 28 x 28."""
    source = _classes("notmnist", root, "the folder notMNIST_small with the folders A to J")
    keep = [i for i, p in enumerate(source.files) if "/".join(p.parts[-2:]) not in UNREADABLE]
    return replace(
        source,
        labels=source.labels[keep],
        splits=source.splits[keep],
        files=tuple(source.files[i] for i in keep),
    )


def listed_source(listing: Listing, content: str = "") -> Source:
    """Return the images of a listing as a source. `content` is the fingerprint of their content.

    Orientation tags are applied to the user's own images only: published datasets are shown as
    their results were computed.
    """
    return Source(
        labels=np.array(listing.labels, np.int64),
        splits=np.array(listing.splits, np.int8),
        files=tuple(listing.base / path for path in listing.paths),
        domains=np.array(listing.task_of, np.int64) if listing.task_of else None,
        groups=listing.groups,
        class_names=listing.classes,
        base=listing.base,
        orientations=tuple(header.orientation for header in listing.headers),
        content=content,
    )


def _classes(dataset: str, root: str | None, expected: str) -> Source:
    base = Path(root) if root is not None else None
    names = (dataset, "notMNIST_small", "images")
    folder = next((base / n for n in names if os.path.isdir(base / n)), base) if base else None
    if folder is None or not os.path.isdir(folder):  # that of Path raises an error for some paths
        raise missing(dataset, root, expected)
    try:
        listing = list_folder(str(folder), read_headers=False)
    except InvalidConfigError as error:
        if not _has_folders(folder):
            raise missing(dataset, root, expected) from error
        raise DatasetError(f"{dataset}: {error}") from error
    if set(listing.splits) != {OPEN}:
        raise DatasetError(
            f"{dataset}: {folder} is already split into train and test; read it with dataset: "
            "image-folder"
        )
    return listed_source(listing)


def _has_folders(folder: Path) -> bool:
    """Return True if a folder contains folders, or cannot be listed, which is another issue."""
    try:
        return any(entry.is_dir() for entry in folder.iterdir())
    except OSError:
        return True
