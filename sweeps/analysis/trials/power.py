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
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr

from sweeps.analysis.trials.replicates import Sample
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.t_quantiles import of_mean, t_quantile, variance_terms
from sweeps.statistics.variance_components import components, crossed, unbalanced

POWER = 0.8
"""Probability of detection that a plan aims at."""
PARTS = (12, 12, 4)
"""Numbers of parts of equal probability of each mean square, each represented by its middle."""


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
    order, seed, rest = _outcomes(orders, seeds) * expected[:, None]
    terms = variance_terms((order, seed, rest), design, target)
    half = t_quantile(terms, design, target, level) * np.sqrt(terms.sum(axis=0) / variance)

    def power(difference: float) -> float:  # the difference is in standard errors
        return float((ndtr(difference - half) + ndtr(-difference - half)).mean())

    most = float(half.max()) + 4.0
    return float(brentq(lambda d: power(d) - POWER, 0.0, most, xtol=1e-6) * np.sqrt(variance))


@lru_cache(maxsize=1024)
def _outcomes(orders: int, seeds: int) -> npt.NDArray[np.float64]:
    """Return equally likely mean squares divided by their expectations, shape (3, P).

    The rows are order, seed and residual.
    """
    degrees = orders - 1, seeds - 1, (orders - 1) * (seeds - 1)
    middles = [(np.arange(parts) + 0.5) / parts for parts in PARTS]
    ratios = [chdtri(f, 1.0 - quantile) / f for f, quantile in zip(degrees, middles, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*ratios, indexing="ij")])
