"""Variance of differences between configurations, pooled over all configurations.

The response of configuration c to orders and seeds, beyond what all configurations share, is

    y[c, i, j] = mu[c] + shared[i, j] + order[c, i] + seed[c, j] + residual[c, i, j]

The shared part cancels in differences. With few orders and seeds, one pair of configurations gives
an imprecise estimate of the other variances. C configurations provide C - 1 times as many degrees
of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import fdtri

from sweeps.search.scores import Cell
from sweeps.statistics.variance_components import ROUNDING

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OUTLIER = 0.99
"""Quantile of the F distribution above which a configuration counts as noisier than the others."""


@dataclass(frozen=True, slots=True)
class PooledVariance:
    """Variance of the difference between the means of two configurations."""

    variance: float
    degrees: float
    """Degrees of freedom of the estimate."""
    alike: Mask
    """(C,) configurations with similar variance, for whose differences the estimate holds."""


def pooled_variance(values: Values, cells: Sequence[Cell]) -> PooledVariance | None:
    """Return the pooled variance of `values` (C, N), which were measured in `cells`.

    If no two cells share an order or a seed, or if only one of the two varies, the variance of a
    mean is the mean square divided by N, with (C - 1)(N - 1) degrees of freedom. Otherwise
    Henderson's method 3 gives the components, as in `sweeps.statistics.variance_components`, with
    each sum of squares pooled over the configurations. The degrees of freedom are
    (C - 1)(min(I, J) - 1), those of the factor with fewer levels. Noisier configurations are
    excluded one at a time, the noisiest first, until an F test of the mean squares finds no
    further one.

    Return None if fewer than two configurations have a similar variance, or if nothing varies.
    """
    alike = np.ones(len(values), dtype=bool)
    levels = min(len({order for order, _ in cells}), len({seed for _, seed in cells}))
    degrees = len(cells) - 1 if levels == 1 else levels - 1
    while alike.sum() >= 3:
        square = (_contrasts(values[alike]) ** 2).sum(axis=1)  # (C,)
        worst = int(np.argmax(square))
        mean_square = float((square.sum() - square[worst]) / (len(square) - 1))
        limit = fdtri(degrees, degrees * (len(square) - 1), OUTLIER)
        if square[worst] <= limit * mean_square:
            break
        alike[np.flatnonzero(alike)[worst]] = False
    if alike.sum() < 2:
        return None
    contrasts, design = _contrasts(values[alike]), _Design.of(tuple(cells))
    if np.abs(contrasts).max() <= ROUNDING * np.abs(values[alike]).max():
        return None
    others = len(contrasts) - 1
    pooled = design.squares(contrasts).sum(axis=1) / others  # (3,)
    variance = float(design.variance(pooled))
    if variance <= 0.0:
        return None
    return PooledVariance(2.0 * variance, others * design.degrees, alike)


def separate_variances(differences: Values, cells: Sequence[Cell]) -> tuple[Values, float]:
    """Return the variances of the row means of `differences` (P, N), and the degrees of freedom.

    Each row is treated separately, as `pooled_variance` treats two configurations. The variance of
    a constant row is 0.
    """
    centered = differences - differences.mean(axis=1, keepdims=True)
    constant = np.abs(centered).max(axis=1) <= ROUNDING * np.abs(differences).max(axis=1)
    design = _Design.of(tuple(cells))
    return np.where(constant, 0.0, design.variance(design.squares(centered))), design.degrees


def _contrasts(values: Values) -> Values:
    """Return `values` (C, N) without the means of configurations and of cells."""
    centered = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centered - centered.mean(axis=0, keepdims=True))


@dataclass(frozen=True, slots=True)
class _Design:
    """Design of N cells, with the projections that separate order, seed and residual."""

    by_order: Values
    """(N, I) indicators."""
    by_seed: Values
    """(N, J) indicators."""
    left: tuple[Values, ...]
    """(N, N) residual projections after fitting orders and seeds, seeds alone, orders alone."""

    @classmethod
    @lru_cache(maxsize=64)  # all looks of a race use the same designs
    def of(cls, cells: tuple[Cell, ...]) -> _Design:
        by_order, by_seed = (_levels([cell[k] for cell in cells]) for k in (0, 1))
        columns = (np.hstack([by_order, by_seed]), by_seed, by_order)
        left = (np.eye(len(cells)) - fitted @ np.linalg.pinv(fitted) for fitted in columns)
        return cls(by_order, by_seed, tuple(left))

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, I and J."""
        return (*self.by_order.shape, self.by_seed.shape[1])

    @property
    def plain(self) -> bool:
        """True if the cells count as independent, because no two share an order or a seed."""
        n, i, j = self.shape
        return min(i, j) == 1 or n == i == j

    @property
    def degrees(self) -> float:
        """Degrees of freedom of a single difference."""
        n, i, j = self.shape
        return float(n - 1 if self.plain else min(i, j) - 1)

    def squares(self, rows: Values) -> Values:
        """Return residual sums of squares (3, P) of centered rows (P, N).

        They are the residuals after fitting orders and seeds, seeds alone, and orders alone.
        """
        if self.plain:
            return np.tile((rows**2).sum(axis=1), (3, 1))
        return np.stack([((rows @ keeps) ** 2).sum(axis=1) for keeps in self.left])

    def variance(self, squares: Values) -> Values:
        """Return the variance of the mean from `squares` (3, ...); negative components are 0."""
        n, i, j = self.shape
        both, without_order, without_seed = squares
        if self.plain:
            return np.asarray(both / ((n - 1) * n))
        count = self.by_order.T @ self.by_seed  # (I, J)
        of_order, of_seed = count.sum(axis=1), count.sum(axis=0)
        weight_order = n - float((count**2 / of_seed).sum())
        weight_seed = n - float((count**2 / of_order[:, None]).sum())
        residual = both / (n - i - j + 1)
        order = (without_order - both - (i - 1) * residual) / weight_order
        seed = (without_seed - both - (j - 1) * residual) / weight_seed
        shares = (float((of_order**2).sum()) / n**2, float((of_seed**2).sum()) / n**2)
        return np.asarray(
            np.maximum(order, 0.0) * shares[0] + np.maximum(seed, 0.0) * shares[1] + residual / n
        )


def _levels(factor: Sequence[str | int]) -> Values:
    """Return indicators, shape (N, number of levels)."""
    place = {level: k for k, level in enumerate(dict.fromkeys(factor))}
    return np.eye(len(place))[[place[level] for level in factor]]
