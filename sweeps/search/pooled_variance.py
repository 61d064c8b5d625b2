"""How sure differences between configurations are, when all configurations tell of it.

A configuration c answers to orders and seeds in its own way, beyond what all share:

    y[c, i, j] = mu[c] + shared[i, j] + order[c, i] + seed[c, j] + residual[c, i, j]

In differences the shared part cancels. With few orders and seeds, one pair says little about the
variances of the rest; C configurations say C - 1 times as much.
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
"""Quantile of F above which a configuration scatters more than the others."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance of the difference of the means of two configurations, and how well it is known."""

    variance: float
    degrees: float
    alike: Mask
    """(C,) configurations that scatter alike, for whose differences this holds."""


def pooled_spread(values: Values, cells: Sequence[Cell]) -> Spread | None:
    """The spread of `values` (C, N), which were measured in `cells`; None if fewer than two
    configurations scatter alike, or not at all.

    Where no two cells share an order or a seed, or only one of the two varies, the variance of a
    mean is the mean square over N, with (C - 1)(N - 1) degrees of freedom. Else the components
    come from Henderson's method 3, as in `sweeps.statistics.variance_components`, with every sum
    of squares pooled over the configurations, and the degrees of freedom are (C - 1)(min(I, J) -
    1), those of the factor with fewer levels. Configurations that scatter more than the rest, the
    worst first, are set aside until an F test of the mean squares finds no further one.
    """
    alike = np.ones(len(values), dtype=bool)
    levels = min(len({order for order, _ in cells}), len({seed for _, seed in cells}))
    own = len(cells) - 1 if levels == 1 else levels - 1
    while alike.sum() >= 3:
        square = (_contrasts(values[alike]) ** 2).sum(axis=1)  # (C,)
        worst = int(np.argmax(square))
        rest = float((square.sum() - square[worst]) / (len(square) - 1))
        limit = fdtri(own, own * (len(square) - 1), OUTLIER)
        if square[worst] <= limit * rest:
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
    return Spread(2.0 * variance, others * design.degrees, alike) if variance > 0.0 else None


def own_spreads(differences: Values, cells: Sequence[Cell]) -> tuple[Values, float]:
    """(the variance of the mean of each row (P, N) by itself, their degrees of freedom).

    As `pooled_spread` has them for two configurations. Rows that do not vary have 0.
    """
    centred = differences - differences.mean(axis=1, keepdims=True)
    constant = np.abs(centred).max(axis=1) <= ROUNDING * np.abs(differences).max(axis=1)
    design = _Design.of(tuple(cells))
    return np.where(constant, 0.0, design.variance(design.squares(centred))), design.degrees


def _contrasts(values: Values) -> Values:
    """What is left of (C, N) without the means of configurations and of cells."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred - centred.mean(axis=0, keepdims=True))


@dataclass(frozen=True, slots=True)
class _Design:
    """What N cells can tell of the variances of orders, seeds and the residual."""

    by_order: Values
    """(N, I) indicators."""
    by_seed: Values
    left: tuple[Values, ...]
    """(N, N) each: what a row keeps when orders and seeds, seeds, or orders are fitted to it."""

    @classmethod
    @lru_cache(maxsize=64)  # every look of a race comes back to the same ones
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
        """Whether the cells are independent, as far as they can tell."""
        n, i, j = self.shape
        return min(i, j) == 1 or n == i == j

    @property
    def degrees(self) -> float:
        """Degrees of freedom of one difference."""
        n, i, j = self.shape
        return float(n - 1 if self.plain else min(i, j) - 1)

    def squares(self, rows: Values) -> Values:
        """(3, P) sums of squares of centred rows (P, N): what orders and seeds together leave,
        what the seeds alone leave, and what the orders alone leave."""
        if self.plain:
            return np.tile((rows**2).sum(axis=1), (3, 1))
        return np.stack([((rows @ keeps) ** 2).sum(axis=1) for keeps in self.left])

    def variance(self, squares: Values) -> Values:
        """The variance of the mean, from `squares` (3, ...); components below 0 count as 0."""
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
    """Indicators (N, levels)."""
    place = {level: k for k, level in enumerate(dict.fromkeys(factor))}
    return np.eye(len(place))[[place[level] for level in factor]]
