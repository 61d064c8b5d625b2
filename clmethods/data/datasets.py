"""DATASETS: images and labels as they are, decoded once, kept as uint8."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class DatasetError(RuntimeError):
    """Data is missing, damaged, or not the version that was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images of one dataset, in a fixed order."""

    images: NDArray[np.uint8]
    """(n, H, W), grey."""
    labels: NDArray[np.int64]
    """(n,) original class ids."""
    test: NDArray[np.bool_]
    """(n,) whether an image belongs to the fixed test split."""


DIGITS_SHA256 = "50e3014f5b089674856d66031241f92eb2b91d615998075a40a44739c99c0353"
GLYPH100_SHA256 = "169ceb6e0f82726db69a090efe4520ce84f668549fbeb93380a8f60c599e45fb"


def digits() -> LabelledImages:
    """Handwritten digits, 8 x 8 grey, embedded (`clmethods/data/files/README.md`)."""
    return _embedded("digits.npz", DIGITS_SHA256)


def glyph100() -> LabelledImages:
    """100 characters of seven scripts in fonts that differ between the splits, 28 x 28 grey.

    The embedded stand-in for Split CIFAR-100 (`clmethods/data/files/README.md`).
    """
    return _embedded("glyph100.npz", GLYPH100_SHA256)


def _embedded(name: str, sha256: str) -> LabelledImages:
    """A file that ships with the package; the checksum is of its arrays, not of their packing."""
    source = files("clmethods") / "data" / "files" / name
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        images, labels, test = arrays["images"], arrays["labels"], arrays["test"]
    digest = hashlib.sha256()
    for array in (images, labels, test):
        digest.update(np.ascontiguousarray(array).tobytes())
    if digest.hexdigest() != sha256:
        raise DatasetError(f"{name} is damaged: reinstall the package, or run `git checkout`")
    return LabelledImages(images, labels.astype(np.int64), test)


DATASETS: dict[str, Callable[[], LabelledImages]] = {
    "digits": digits,
    "glyph100": glyph100,
}
"""Loaders by the names of `clmethods.config.facts.DATASETS`."""


@lru_cache(maxsize=4)
def load(name: str, image_size: int) -> LabelledImages:
    """A dataset with its images resized to `image_size`, cached: treat it as read-only."""
    data = DATASETS[name]()
    return LabelledImages(resize(data.images, image_size), data.labels, data.test)


def resize(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, H, W) to (n, size, size) by bicubic interpolation, in uint8 so that bits are stable."""
    if images.shape[1:] == (size, size):
        return images
    resized = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
        for image in images
    ]
    return np.stack(resized)
