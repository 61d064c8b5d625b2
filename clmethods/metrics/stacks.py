"""Validation of accuracy matrices, and computations that several metrics share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]
Direction = Literal["max", "min"]
OfMany = Callable[[Matrix], Values | None]
"""Function from matrices (..., S, T) to values (...). A value is NaN if the metric is undefined
for its matrix; the result is None if the metric is undefined for the shape."""


def checked(matrix: npt.ArrayLike) -> Matrix:
    """Return a valid accuracy matrix, (T, T) or (1, T), as float64.

    Raises ValueError if the shape is invalid, or if an entry that a metric uses is not a fraction
    in [0, 1].
    """
    a = np.asarray(matrix, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] == 0 or a.shape[0] not in {1, a.shape[1]}:
        raise ValueError(f"an accuracy matrix is T x T, or 1 x T for a joint run, got {a.shape}")
    return np.asarray(checked_stack(a[None])[0])


def checked_stack(a: Matrix) -> Matrix:
    """Return a stack (N, S, T) of valid accuracy matrices; raises ValueError as `checked` does."""
    mandatory = np.tril(a) if has_history(a) else a
    if np.isnan(mandatory).any():
        _, t, j = (int(i[0]) for i in np.isnan(mandatory).nonzero())
        raise ValueError(f"a[{t}, {j}] must be known: task {j} was learned by then, got NaN")
    outside = (a < 0.0) | (a > 1.0)  # False for NaN, which is valid above the diagonal
    if outside.any():
        n, t, j = (int(i[0]) for i in outside.nonzero())
        raise ValueError(f"accuracies are fractions in [0, 1], got a[{t}, {j}] = {a[n, t, j]}")
    return a


def has_history(a: Matrix) -> bool:
    """Return True if there is a row per task; a joint run over several tasks has only one row."""
    return bool(a.shape[-2] == a.shape[-1])


def of_one(of_many: OfMany, matrix: npt.ArrayLike) -> float | None:
    """Compute the metric of one matrix; return None if it is undefined."""
    return scalar(of_many(checked(matrix)))


def scalar(value: Values | None) -> float | None:
    """Return a metric of a single run as float; None if it is undefined."""
    return None if value is None or np.isnan(value) else float(value)


def mean_of(values: Matrix) -> Values:
    """Compute the mean over the last axis.

    The values are copied to contiguous memory first, so that a stack and a single matrix give the
    same bits.
    """
    return np.asarray(np.ascontiguousarray(values).mean(axis=-1))


def diagonal(a: Matrix) -> Matrix:
    """Return the accuracies (..., T) on each task right after it was learned."""
    return np.asarray(a.diagonal(axis1=-2, axis2=-1))  # (..., T)


def peaks(a: Matrix) -> Matrix:
    """Return the best accuracies (..., T - 1) on each old task before the last task was learned.

    The maximum starts with the row of the task itself and excludes the last row.
    """
    best = [a[..., j:-1, j].max(axis=-1) for j in range(a.shape[-2] - 1)]
    return np.stack(best, axis=-1)  # (..., T - 1)
