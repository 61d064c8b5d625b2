"""Data that ships with the package (`clmethods/data/files/README.md`)."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from clmethods.data.decode import fitted
from clmethods.data.source import DatasetError, Pixels, Source
from clmethods.user_data.folder_listing import TEST, TRAIN

SHA256 = {
    "digits.npz": "50e3014f5b089674856d66031241f92eb2b91d615998075a40a44739c99c0353",
    "glyph100.npz": "169ceb6e0f82726db69a090efe4520ce84f668549fbeb93380a8f60c599e45fb",
    "fashion.npz": "3116a19bf2f2a363ed0f593f6ec2aa0a07c7bb97b86848444c01c387d14b0394",
    "scripts.npz": "ce211b1c2c4650f918ca968872067ff1284638710f4cf397ae2955a38fb8f5f0",
}
"""Of the arrays, not of their packing."""


def digits() -> Source:
    """Handwritten digits, 8 x 8 grey."""
    return _source(*_arrays("digits.npz"))


def glyph100() -> Source:
    """100 characters of seven scripts in fonts that differ between the splits, 28 x 28 grey.

    The embedded stand-in for Split CIFAR-100.
    """
    return _source(*_arrays("glyph100.npz"))


def embedded4() -> Source:
    """Digits, clothes, Latin letters, hiragana: 40 classes, 28 x 28 grey, ten after ten.

    The embedded stand-in for 5-datasets: in the natural class order with 4 tasks every task is
    one domain.
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
    """The digits under four conditions, 16 x 16 grey: plain, inverted, rotated, noisy.

    The same pictures in every domain, so a test digit is never trained on in another one.
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
    """(n, s, s) turned by 45 degrees and made smaller, so that corners stay inside; bilinear.

    Written out in double precision: a library's rotation may move grey levels with its version.
    """
    side = images.shape[1]
    grid = np.arange(side) - (side - 1) / 2
    y, x = np.meshgrid(grid, grid, indexing="ij")
    # Turned by 45 degrees a square needs sqrt(2) of its side: x' = x + y and y' = y - x do both.
    source_x, source_y = x + y + (side - 1) / 2, y - x + (side - 1) / 2
    left, top = np.floor(source_x).astype(int), np.floor(source_y).astype(int)
    right_share, low_share = source_x - left, source_y - top
    padded = np.pad(images.astype(np.float64), ((0, 0), (side, side), (side, side)))
    left, top = left + side, top + side
    upper = padded[:, top, left] * (1 - right_share) + padded[:, top, left + 1] * right_share
    lower = padded[:, top + 1, left] * (1 - right_share) + padded[:, top + 1, left + 1] * (
        right_share
    )
    turned = upper * (1 - low_share) + lower * low_share
    levels: Pixels = np.rint(turned).astype(np.uint8)
    return levels


def noisy(images: Pixels) -> Pixels:
    """(n, s, s) on a background of noise up to grey 127, another one for every image."""
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
