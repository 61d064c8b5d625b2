"""Loading of the images of a stream: readers of all datasets, and the size of stored images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clmethods.catalog.facts import DATASETS as FACTS
from clmethods.config.extension import ExtendedStream
from clmethods.config.stream import StreamConfig
from clmethods.data import cifar, cub, domainnet, embedded, folders, idx, suites, svhn
from clmethods.data.fetch import fetch
from clmethods.data.image_decoding import Resize, pixels_of
from clmethods.data.source import DatasetError, MissingDataError, Pixels, Source
from clmethods.errors import InvalidConfigError
from clmethods.user_data.folder_listing import Listing, content_of


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images of a dataset in a fixed order. They are read-only, and often memory-mapped."""

    images: Pixels
    """(n, s, s) gray or (n, s, s, 3) RGB, where s is the stored side or smaller."""
    source: Source
    """Labels, splits, domains and groups of the n images."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) original class ids."""
        return self.source.labels


DATASETS: dict[str, Callable[[str | None], Source]] = {
    "digits": lambda _: embedded.digits(),
    "glyph100": lambda _: embedded.glyph100(),
    "embedded4": lambda _: embedded.embedded4(),
    "digits-dil": lambda _: embedded.digits_dil(),
    "cifar10": cifar.cifar10,
    "cifar100": cifar.cifar100,
    "mnist": idx.mnist,
    "fashion-mnist": idx.fashion_mnist,
    "kmnist": idx.kmnist,
    "svhn": svhn.svhn,
    "notmnist": folders.notmnist,
    "5-datasets": suites.five_datasets,
    "imagenet-r": folders.imagenet_r,
    "imagenet-a": folders.imagenet_a,
    "cub200": cub.cub200,
    "domainnet": domainnet.domainnet,
    "domainnet-dil": domainnet.domainnet,
}
"""Readers by the names of `clmethods.catalog.facts.DATASETS`; the argument is `stream.root`."""


def open_images(stream: StreamConfig, image_size: int) -> LabelledImages:
    """Return the images of a stream's dataset for `image_size`. Do not modify them.

    Raises `DatasetError` if files are missing or damaged, or have changed since the run was
    planned.
    """
    listing = _listing(stream)
    if listing is not None:
        content = _checked_content(stream, listing)
        return _open_listing(stream.dataset, listing, content, image_size, stream.resizing)
    return _open(stream.dataset, stream.root, stream.download, image_size, stream.resizing)


def require_same_content(stream: StreamConfig) -> None:
    """Read all files of the user's data, and compare them with the record of the stream.

    Raises `DatasetError` if a file is missing or its content has changed.
    """
    if isinstance(stream, ExtendedStream):
        require_same_content(stream.base)
        require_same_content(stream.added.stream)
        return
    listing = _listing(stream)
    if listing is not None:
        _checked_content(stream, listing, read_all=True)


def _listing(stream: StreamConfig) -> Listing | None:
    try:
        return stream.listing()
    except InvalidConfigError as error:  # the data was valid when the run was planned
        raise DatasetError(f"{stream.dataset}: {error}") from error


def _checked_content(stream: StreamConfig, listing: Listing, *, read_all: bool = False) -> str:
    """Return the fingerprint of the content, after comparing the data with its record.

    Records of earlier versions contain neither class names nor the content.
    """
    try:
        content = content_of(listing, read_all=read_all)
    except InvalidConfigError as error:
        raise DatasetError(f"{stream.dataset}: {error}") from error
    record = stream.record
    if record is None:
        return content
    remedy = "Restore the files, or plan the run again."
    facts = replace(stream.facts_of(listing), content=record.content)
    if record != replace(facts, class_names=record.class_names or ()):
        raise DatasetError(
            f"{stream.dataset}: the files below {listing.base} have changed since the run was "
            f"planned: their fingerprint is {facts.version}, not {record.version}. {remedy}"
        )
    if record.class_names and record.class_names != listing.classes:
        raise DatasetError(
            f"{stream.dataset}: the classes below {listing.base} were renamed since the run was "
            f"planned. {remedy}"
        )
    if record.content not in {"", content}:
        raise DatasetError(
            f"{stream.dataset}: the content of files below {listing.base} has changed since the "
            f"run was planned, under the same names and sizes: its fingerprint is {content}, not "
            f"{record.content}. {remedy}"
        )
    return content


@lru_cache(maxsize=4)
def _open(
    dataset: str, root: str | None, download: bool, image_size: int, resize: Resize
) -> LabelledImages:
    try:
        source = _read_dataset(dataset, root)
    except MissingDataError:
        if not download:
            raise
        fetch(dataset, root)
        source = _read_dataset(dataset, root)
    facts = FACTS[dataset]
    if facts.images not in {None, len(source.labels)}:
        raise DatasetError(
            f"{dataset} has {facts.images} images, but {root} contains {len(source.labels)}. "
            "Complete the copy, or read a subset with dataset: image-folder or manifest."
        )
    unknown = set(source.labels.tolist()) - set(range(facts.classes))
    if unknown:
        raise DatasetError(
            f"{dataset}: got label {min(unknown)}, allowed: 0 to {facts.classes - 1}. "
            "Restore the original files."
        )
    return LabelledImages(pixels_of(dataset, source, image_size, resize), source)


def _read_dataset(dataset: str, root: str | None) -> Source:
    """Read a dataset. Raises `DatasetError` for files that the system does not open, too."""
    try:
        return DATASETS[dataset](root)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(
            f"{dataset}: the files below {root or 'the default folder'} cannot be read: {reason}. "
            "Check stream.root and the permissions."
        ) from error


@lru_cache(maxsize=4)
def _open_listing(
    dataset: str, listing: Listing, content: str, image_size: int, resize: Resize
) -> LabelledImages:
    if dataset == "idx":
        source = replace(idx.idx_dataset(dataset, str(listing.base)), content=content)
    else:
        source = folders.listed_source(listing, content)
    return LabelledImages(pixels_of(dataset, source, image_size, resize), source)
