"""Detectable difference of a design.

A difference is detected if its 95 % interval excludes 0. The size that is detected with a
probability of 80 % is computed with the formulas of the intervals, over the distribution of the
mean squares for given variance components. The components are estimates that are treated as known;
`sweeps.analysis.trials.planned_design` takes their uncertainty into account.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, ndtr, stdtrit

from sweeps.analysis.trials.replicates import Sample
from sweeps.statistics.cell_designs import CellDesign
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.t_quantiles import of_mean, t_quantile, variance_terms
from sweeps.statistics.variance_components import components, crossed, unbalanced

Values = npt.NDArray[np.float64]

POWER = 0.8
"""Probability of detection that a plan aims at."""
PARTS = {1: (48,), 2: (24, 8), 3: (12, 12, 4)}
"""Numbers of parts of equal probability that represent each mean square, by their number."""
PRECISION = 1e-6
"""Precision of a detectable difference, in standard errors."""


@dataclass(frozen=True, slots=True)
class VarianceEstimate:
    """Variance components of a quantity over orders and seeds, and the design of the estimate."""

    order: float
    seed: float
    residual: float
    orders: int
    seeds: int


def estimate_variance(sample: Sample) -> VarianceEstimate | None:
    """Return the components of a sample; None if they cannot be separated.

    This needs 2 orders x 2 seeds, and some orders and some seeds with several runs.
    """
    i, j = len(set(sample.orders)), len(set(sample.seeds))
    if min(i, j) < 2:
        return None
    grid = crossed(sample.values, sample.orders, sample.seeds)
    if grid is not None:
        parts = components(grid)
        return VarianceEstimate(parts.order, parts.seed, parts.residual, i, j)
    estimates = unbalanced(sample.values, sample.orders, sample.seeds)
    if estimates is None or estimates.confounded is not None:
        return None
    return VarianceEstimate(estimates.order, estimates.seed, estimates.residual, i, j)


def detectable_difference(
    spread: VarianceEstimate, orders: int, seeds: int, level: float = LEVEL
) -> float:
    """Return the difference that `mean_interval` detects with a probability of `POWER`.

    The design is `orders` x `seeds`, at least 2 of each. The mean and the mean squares are
    independent. The probability is therefore a mean over the mean squares, computed here over a
    grid of equally likely values; it is within one percentage point of simulations.
    """
    target, design = of_mean(orders, seeds), (orders, seeds)
    variance = (
        target.order * spread.order + target.seed * spread.seed + target.residual * spread.residual
    )
    if variance <= 0.0:
        return 0.0
    residual = spread.residual
    expected = np.array(
        [seeds * spread.order + residual, orders * spread.seed + residual, residual]
    )
    degrees = orders - 1, seeds - 1, (orders - 1) * (seeds - 1)
    order, seed, rest = _outcomes(degrees) * expected[:, None]
    terms = variance_terms((order, seed, rest), design, target)
    half = t_quantile(terms, design, target, level) * np.sqrt(terms.sum(axis=0) / variance)
    return _size(half) * float(np.sqrt(variance))


def detectable_in(design: CellDesign, squares: Values, level: float = LEVEL) -> float:
    """Return the difference that `mean_interval` detects in cells that are no grid.

    `squares` (K,) are the expectations of the mean squares of an identified design, or estimates
    of them. The probability is computed as in `detectable_difference`, with mean squares that
    count as independent, as they are in balanced designs.
    """
    expected = np.maximum(squares, squares[-1])
    variance = float(design.variance_terms(expected).sum())
    if variance <= 0.0:
        return 0.0
    terms = design.variance_terms(_outcomes(design.degrees) * expected[:, None])
    quantile = float(stdtrit(design.least_degrees, 0.5 + level / 2))
    half = quantile * np.sqrt(terms.sum(axis=0) / variance)
    return _size(half) * float(np.sqrt(variance))


def _size(half: Values) -> float:
    """Return the difference in standard errors that equally likely half widths detect.

    The probability of detection increases with the difference, so that bisection finds it. A
    solver of `scipy.optimize` would take longer to import than `sweeps select` takes to read.
    """
    low, high = 0.0, float(half.max()) + 4.0
    while high - low > PRECISION:
        middle = (low + high) / 2
        power = float((ndtr(middle - half) + ndtr(-middle - half)).mean())
        low, high = (middle, high) if power < POWER else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=1024)
def _outcomes(degrees: tuple[int, ...]) -> Values:
    """Return equally likely mean squares divided by their expectations, shape (K, P)."""
    middles = [(np.arange(parts) + 0.5) / parts for parts in PARTS[len(degrees)]]
    ratios = [chdtri(f, 1.0 - quantile) / f for f, quantile in zip(degrees, middles, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*ratios, indexing="ij")])
