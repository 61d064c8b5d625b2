"""Search for test and validation images that the training images contain as well.

Two decoded images are near-duplicates if their difference hashes differ in at most
`MAX_BITS` of 64 bits and their thumbnails by at most `MAX_GRAY_LEVELS` on average. The hash says
for each pixel of a 9 x 8 gray thumbnail whether its right neighbor is brighter; it survives
compression, resizing and small changes of brightness, but not crops, mirroring or rotation. The
thumbnails are compared because all flat images have the same hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clmethods.data.source import Pixels

BANDS = 4
MAX_BITS = BANDS - 1
"""Two hashes that differ in at most three of 64 bits agree in one of four bands of 16 bits."""
MAX_GRAY_LEVELS = 10.0
"""Mean absolute difference of two 9 x 8 thumbnails, in levels from 0 to 255, per channel."""

Hashes = NDArray[np.uint16]
"""(n, 4) bands of the hashes."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Image outside the training set with its most similar training image."""

    image: int
    training: int
    bits: int
    """Number of bits in which the hashes differ."""


def near_duplicates(
    images: Pixels, training: NDArray[np.intp], others: NDArray[np.intp]
) -> list[NearDuplicate]:
    """Return the images of `others` that have a near-duplicate among `training`, by index."""
    thumbnails = _thumbnails(images)
    hashes = _hashes(thumbnails)
    buckets: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(BANDS)]
    for index in training.tolist():
        for band, bucket in enumerate(buckets):
            bucket[int(hashes[index, band])].append(index)
    arrays = [{key: np.array(rows) for key, rows in bucket.items()} for bucket in buckets]
    return list(_found(thumbnails, hashes, arrays, others))


def _found(
    thumbnails: NDArray[np.uint8],
    hashes: Hashes,
    buckets: list[dict[int, NDArray[np.intp]]],
    others: NDArray[np.intp],
) -> Iterator[NearDuplicate]:
    none = np.empty(0, np.intp)
    for index in others.tolist():
        matches = [buckets[band].get(int(hashes[index, band]), none) for band in range(BANDS)]
        candidates = np.unique(np.concatenate(matches)).astype(np.intp)
        bits = np.bitwise_count(hashes[candidates] ^ hashes[index]).sum(axis=1)
        candidates, bits = candidates[bits <= MAX_BITS], bits[bits <= MAX_BITS]
        difference = np.abs(
            thumbnails[candidates].astype(np.int16) - thumbnails[index].astype(np.int16)
        ).mean(axis=(1, 2, 3))
        close = difference <= MAX_GRAY_LEVELS
        if close.any():
            best = int(np.flatnonzero(close)[np.lexsort((difference[close], bits[close]))[0]])
            yield NearDuplicate(index, int(candidates[best]), int(bits[best]))


def _thumbnails(images: Pixels) -> NDArray[np.uint8]:
    """Return thumbnails (n, 8, 9, channels)."""
    small = [
        np.asarray(Image.fromarray(np.asarray(image)).resize((9, 8), Image.Resampling.BOX))
        for image in images
    ]
    stacked = np.stack(small)
    return stacked[..., None] if stacked.ndim == 3 else stacked


def _hashes(thumbnails: NDArray[np.uint8]) -> Hashes:
    gray = thumbnails.astype(np.int32).sum(axis=3)
    brighter = gray[:, :, 1:] > gray[:, :, :-1]  # (n, 8, 8)
    packed = np.packbits(brighter.reshape(len(gray), 64), axis=1)
    return packed.view(np.uint16)
