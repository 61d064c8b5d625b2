"""How sure differences between configurations are, when all configurations tell of it.

A configuration c answers to orders and seeds in its own way, beyond what all share:

    y[c, i, j] = mu[c] + shared[i, j] + order[c, i] + seed[c, j] + residual[c, i, j]

In differences the shared part cancels. With few orders and seeds, one pair says little about the
variances of the rest; C configurations say C - 1 times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtri

from sweeps.analysis.components import ROUNDING
from sweeps.search.scores import Cell

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
    come from Henderson's method 3, as in `sweeps.analysis.components`, with every sum of squares
    pooled over the configurations, and the degrees of freedom are (C - 1)(min(I, J) - 1), those of
    the factor with fewer levels. Configurations that scatter more than the rest, the worst first,
    are set aside until an F test of the mean squares finds no further one.
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
    contrasts = _contrasts(values[alike])
    if np.abs(contrasts).max() <= ROUNDING * np.abs(values[alike]).max():
        return None
    variance, degrees = _of_mean(contrasts, cells)
    return Spread(2.0 * variance, degrees, alike) if variance > 0.0 else None


def _contrasts(values: Values) -> Values:
    """What is left of (C, N) without the means of configurations and of cells."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred - centred.mean(axis=0, keepdims=True))


def _of_mean(contrasts: Values, cells: Sequence[Cell]) -> tuple[float, float]:
    """(variance of the mean over the cells of one configuration, its degrees of freedom)."""
    others, n = len(contrasts) - 1, contrasts.shape[1]
    by_order, by_seed = (_levels([cell[k] for cell in cells]) for k in (0, 1))  # (N, I), (N, J)
    i, j = by_order.shape[1], by_seed.shape[1]

    def unexplained(design: Values) -> float:
        fit = np.linalg.lstsq(design, contrasts.T, rcond=None)[0]
        return float(((contrasts.T - design @ fit) ** 2).sum()) / others

    if min(i, j) == 1 or n == i == j:
        mean_square = float((contrasts**2).sum()) / (others * (n - 1))
        return mean_square / n, others * (n - 1.0)
    count = by_order.T @ by_seed  # (I, J)
    of_order, of_seed = count.sum(axis=1), count.sum(axis=0)
    least = unexplained(np.hstack([by_order, by_seed]))
    residual = least / (n - i - j + 1)
    order = (unexplained(by_seed) - least - (i - 1) * residual) / (
        n - float((count**2 / of_seed).sum())
    )
    seed = (unexplained(by_order) - least - (j - 1) * residual) / (
        n - float((count**2 / of_order[:, None]).sum())
    )
    variance = (
        max(0.0, order) * float((of_order**2).sum()) / n**2
        + max(0.0, seed) * float((of_seed**2).sum()) / n**2
        + residual / n
    )
    return variance, others * (min(i, j) - 1.0)


def _levels(factor: Sequence[str | int]) -> Values:
    """Indicators (N, levels)."""
    place = {level: k for k, level in enumerate(dict.fromkeys(factor))}
    return np.eye(len(place))[[place[level] for level in factor]]
