"""Ranks with ties, without `scipy.stats`, whose import takes longer than most analyses."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def average_ranks(values: npt.ArrayLike) -> Values:
    """Return the ranks along the last axis, from 1; equal values share the mean of their ranks.

    Shapes: (..., K) to (..., K). The values must be numbers, not NaN.
    """
    table = np.asarray(values, dtype=np.float64)
    rows = table.reshape(math.prod(table.shape[:-1]), table.shape[-1])
    ranks = np.empty_like(rows)
    for row, result in zip(rows, ranks, strict=True):
        ascending = np.sort(row)
        first = np.searchsorted(ascending, row, side="left")
        last = np.searchsorted(ascending, row, side="right")
        result[:] = (first + last + 1) / 2
    return ranks.reshape(table.shape)
