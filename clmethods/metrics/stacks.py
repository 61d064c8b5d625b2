"""Accuracy matrices, one or many at once: their laws, and what several metrics take from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]
Direction = Literal["max", "min"]
OfMany = Callable[[Matrix], Values | None]
"""Matrices (..., S, T) to values (...), NaN where undefined; None if the shape has none."""


def checked(matrix: npt.ArrayLike) -> Matrix:
    """The matrix as float64, after its laws; every entry that some metric reads is a fraction."""
    a = np.asarray(matrix, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] == 0 or a.shape[0] not in {1, a.shape[1]}:
        raise ValueError(f"an accuracy matrix is T x T, or 1 x T for a joint run, got {a.shape}")
    return np.asarray(checked_stack(a[None])[0])


def checked_stack(a: Matrix) -> Matrix:
    """Matrices (N, S, T) after the same laws."""
    mandatory = np.tril(a) if has_history(a) else a
    if np.isnan(mandatory).any():
        _, t, j = (int(i[0]) for i in np.isnan(mandatory).nonzero())
        raise ValueError(f"a[{t}, {j}] must be known: task {j} was learned by then, got NaN")
    outside = (a < 0.0) | (a > 1.0)  # NaN above the diagonal is neither
    if outside.any():
        n, t, j = (int(i[0]) for i in outside.nonzero())
        raise ValueError(f"accuracies are fractions in [0, 1], got a[{t}, {j}] = {a[n, t, j]}")
    return a


def has_history(a: Matrix) -> bool:
    """Whether there is a row per task, which a joint run over several tasks lacks."""
    return bool(a.shape[-2] == a.shape[-1])


def of_one(of_many: OfMany, matrix: npt.ArrayLike) -> float | None:
    """The metric of one matrix; None where it is undefined."""
    found = of_many(checked(matrix))
    return None if found is None or np.isnan(found) else float(found)


def mean_of(values: Matrix) -> Values:
    """Over the last axis, which must lie in memory as in a single row for equal bits."""
    return np.asarray(np.ascontiguousarray(values).mean(axis=-1))


def diagonal(a: Matrix) -> Matrix:
    """(..., T): each task right after it was learned."""
    return np.asarray(a.diagonal(axis1=-2, axis2=-1))  # (..., T)


def peaks(a: Matrix) -> Matrix:
    """Best accuracy on each old task from its own end to just before the last task's."""
    best = [a[..., j:-1, j].max(axis=-1) for j in range(a.shape[-2] - 1)]
    return np.stack(best, axis=-1)  # (..., T - 1)
