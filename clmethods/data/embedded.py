"""Readers of the datasets that ship with the package (`clmethods/data/files/README.md`)."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from clmethods.data.image_decoding import fitted
from clmethods.data.source import DatasetError, Pixels, Source
from clmethods.user_data.folder_listing import TEST, TRAIN

SHA256 = {
    "digits.npz": "50e3014f5b089674856d66031241f92eb2b91d615998075a40a44739c99c0353",
    "glyph100.npz": "169ceb6e0f82726db69a090efe4520ce84f668549fbeb93380a8f60c599e45fb",
    "fashion.npz": "3116a19bf2f2a363ed0f593f6ec2aa0a07c7bb97b86848444c01c387d14b0394",
    "scripts.npz": "ce211b1c2c4650f918ca968872067ff1284638710f4cf397ae2955a38fb8f5f0",
}
"""SHA-256 checksums of the arrays, which do not depend on the compression of the files."""


def digits() -> Source:
    """Read handwritten digits, 8 x 8 gray."""
    return _source(*_arrays("digits.npz"))


def glyph100() -> Source:
    """Read 100 characters of seven scripts, 28 x 28 gray, whose fonts differ between the splits.

    It is the embedded replacement for Split CIFAR-100.
    """
    return _source(*_arrays("glyph100.npz"))


def embedded4() -> Source:
    """Read digits, clothes, Latin letters and hiragana: 40 classes, 10 of each, 28 x 28 gray.

    It is the embedded replacement for 5-datasets. In the natural class order with 4 tasks, each
    task is one domain.
    """
    images, labels, test = _arrays("digits.npz")
    parts = [(fitted(images, 28, "stretch"), labels, test)]
    parts += [_arrays(name) for name in ("fashion.npz", "scripts.npz")]
    offsets = (0, 10, 20)
    return _source(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] + at for part, at in zip(parts, offsets, strict=True)]),
        np.concatenate([part[2] for part in parts]),
    )


def digits_dil() -> Source:
    """Read the digits in four domains, 16 x 16 gray: plain, inverted, rotated, noisy.

    All domains have the same images and the same split, so that no test image is a training image
    of another domain.
    """
    images, labels, test = _arrays("digits.npz")
    plain = np.kron(images, np.ones((1, 2, 2), np.uint8))
    domains = [plain, 255 - plain, rotated(plain), noisy(plain)]
    return _source(
        np.concatenate(domains),
        np.tile(labels, len(domains)),
        np.tile(test, len(domains)),
        np.repeat(np.arange(len(domains)), len(labels)),
    )


def rotated(images: Pixels) -> Pixels:
    """Rotate images (n, s, s) by 45 degrees and shrink them, so that corners stay inside.

    The bilinear interpolation is implemented here in double precision, because gray levels of a
    library's rotation may change with its version.
    """
    side = images.shape[1]
    grid = np.arange(side) - (side - 1) / 2
    y, x = np.meshgrid(grid, grid, indexing="ij")
    # A square rotated by 45 degrees is sqrt(2) times as wide. x' = x + y, y' = y - x rotates and
    # shrinks it by sqrt(2).
    source_x, source_y = x + y + (side - 1) / 2, y - x + (side - 1) / 2
    left, top = np.floor(source_x).astype(int), np.floor(source_y).astype(int)
    right_weight, lower_weight = source_x - left, source_y - top
    padded = np.pad(images.astype(np.float64), ((0, 0), (side, side), (side, side)))
    left, top = left + side, top + side
    upper = padded[:, top, left] * (1 - right_weight) + padded[:, top, left + 1] * right_weight
    lower = padded[:, top + 1, left] * (1 - right_weight) + padded[:, top + 1, left + 1] * (
        right_weight
    )
    interpolated = upper * (1 - lower_weight) + lower * lower_weight
    levels: Pixels = np.rint(interpolated).astype(np.uint8)
    return levels


def noisy(images: Pixels) -> Pixels:
    """Put images (n, s, s) on a background of noise up to gray 127, different for each image."""
    noise = np.random.default_rng(0).integers(0, 128, images.shape, dtype=np.uint8)
    brighter: Pixels = np.maximum(images, noise)
    return brighter


def _source(
    images: Pixels,
    labels: NDArray[np.int64],
    test: NDArray[np.bool_],
    domains: NDArray[np.int64] | None = None,
) -> Source:
    splits = np.where(test, TEST, TRAIN).astype(np.int8)
    return Source(labels=labels, splits=splits, read=lambda: images, domains=domains)


def _arrays(name: str) -> tuple[Pixels, NDArray[np.int64], NDArray[np.bool_]]:
    source = files("clmethods") / "data" / "files" / name
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        images, labels, test = arrays["images"], arrays["labels"], arrays["test"]
    digest = hashlib.sha256()
    for array in (images, labels, test):
        digest.update(np.ascontiguousarray(array).tobytes())
    if digest.hexdigest() != SHA256[name]:
        raise DatasetError(f"{name} is damaged: reinstall the package, or run `git checkout`")
    return images, labels.astype(np.int64), test
