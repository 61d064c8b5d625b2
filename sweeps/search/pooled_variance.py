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

import numpy as np
import numpy.typing as npt

from sweeps.search.scores import Cell
from sweeps.statistics.cell_designs import cell_design
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
    from scipy.special import fdtri  # slow to import; planning loads this module for every sweep

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
    contrasts, design = _contrasts(values[alike]), cell_design(cells)
    if np.abs(contrasts).max() <= ROUNDING * np.abs(values[alike]).max():
        return None
    others = len(contrasts) - 1
    pooled = design.mean_squares(contrasts).sum(axis=1) / others  # (K,)
    variance = float(design.variance_terms(pooled).sum())
    if variance <= 0.0:
        return None
    return PooledVariance(2.0 * variance, others * design.least_degrees, alike)


def separate_variances(differences: Values, cells: Sequence[Cell]) -> tuple[Values, float]:
    """Return the variances of the row means of `differences` (P, N), and the degrees of freedom.

    Each row is treated separately, as `pooled_variance` treats two configurations. The variance of
    a constant row is 0.
    """
    centered = differences - differences.mean(axis=1, keepdims=True)
    constant = np.abs(centered).max(axis=1) <= ROUNDING * np.abs(differences).max(axis=1)
    design = cell_design(cells)
    variances = design.variance_terms(design.mean_squares(centered)).sum(axis=0)  # (P,)
    return np.where(constant, 0.0, variances), design.least_degrees


def _contrasts(values: Values) -> Values:
    """Return `values` (C, N) without the means of configurations and of cells."""
    centered = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centered - centered.mean(axis=0, keepdims=True))
