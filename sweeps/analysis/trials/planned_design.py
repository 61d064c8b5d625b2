"""Smallest design that detects a difference which the present runs do not show.

The present runs leave open how large the difference is and how much runs vary. A plan that takes
their estimates for the truth detects the difference far less often than it says: differences that
are not significant and look large are too large by chance, and small variances too small. The
power of a design is therefore averaged over what the present runs leave open: variance components
by generalized pivotal quantities (Weerahandi 1993), and the difference around its estimate.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, ndtr, ndtri

from clmethods.canonical import derive_seed
from sweeps.analysis.trials.power import POWER, VarianceEstimate
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.t_quantiles import of_mean, t_quantile, variance_terms

Values = npt.NDArray[np.float64]

MOST = 64
"""Maximum number of orders or seeds of a plan."""
DRAWS = 256
"""Number of possible truths, each with possible results of the planned runs."""


APPROXIMATE = 8
"""Degrees of freedom from which chi-squared quantiles are approximated."""


@dataclass(frozen=True, slots=True)
class _Truths:
    """Possible variance components of runs and possible differences, shape (DRAWS,) each."""

    order: Values
    seed: Values
    residual: Values
    difference: Values


def smallest_design(spread: VarianceEstimate, difference: float) -> tuple[int, int] | None:
    """Return the (orders, seeds) with the fewest runs whose expected power is at least `POWER`.

    `difference` is the estimate from the runs that `spread` was estimated from. The design has at
    least as many orders and seeds as `spread`. Return None if no design with up to `MOST` of each
    has this power. Measured power is in docs/statistics.md.
    """
    truths = _truths(spread, difference)
    if not truths.residual.any() and not truths.order.any() and not truths.seed.any():
        return (spread.orders, spread.seeds) if difference else None
    best: tuple[int, int] | None = None
    if _power(truths, MOST, MOST) < POWER:
        return None
    for orders in range(spread.orders, MOST + 1):
        if best is not None and orders * spread.seeds >= best[0] * best[1]:
            break
        most = MOST if best is None else min(MOST, (best[0] * best[1] - 1) // orders)
        candidates = range(spread.seeds, most + 1)
        if not candidates or _power(truths, orders, candidates[-1]) < POWER:
            continue
        power = partial(_power, truths, orders)
        best = orders, candidates[bisect_left(candidates, POWER, key=power)]
    return best


def expected_power(spread: VarianceEstimate, difference: float, orders: int, seeds: int) -> float:
    """Return the probability that a design detects the difference, averaged as in the module."""
    return _power(_truths(spread, difference), orders, seeds)


def _truths(spread: VarianceEstimate, difference: float) -> _Truths:
    i, j = spread.orders, spread.seeds
    residual = spread.residual / _mean_squares(0, (i - 1) * (j - 1))
    with_order = (j * spread.order + spread.residual) / _mean_squares(1, i - 1)
    with_seed = (i * spread.seed + spread.residual) / _mean_squares(2, j - 1)
    order = np.maximum(with_order - residual, 0.0) / j
    seed = np.maximum(with_seed - residual, 0.0) / i
    error = np.sqrt(order / i + seed / j + residual / (i * j))
    return _Truths(order, seed, residual, np.abs(difference + error * _normals()[3]))


def _power(truths: _Truths, orders: int, seeds: int) -> float:
    """Return the mean probability that the interval of a mean excludes 0."""
    design, target = (orders, seeds), of_mean(orders, seeds)
    variance = (
        target.order * truths.order + target.seed * truths.seed + target.residual * truths.residual
    )
    squares = (
        (seeds * truths.order + truths.residual) * _mean_squares(4, orders - 1),
        (orders * truths.seed + truths.residual) * _mean_squares(5, seeds - 1),
        truths.residual * _mean_squares(6, (orders - 1) * (seeds - 1)),
    )
    terms = variance_terms(squares, design, target)
    half = t_quantile(terms, design, target, LEVEL) * np.sqrt(terms.sum(axis=0) / variance)
    ratio = truths.difference / np.sqrt(variance)
    return float((ndtr(ratio - half) + ndtr(-ratio - half)).mean())


@lru_cache(maxsize=1)
def _uniforms() -> Values:
    """Return a Latin hypercube sample, shape (7, DRAWS), of numbers between 0 and 1."""
    generator = np.random.default_rng(derive_seed(0, "planned_design", DRAWS))
    rows = [generator.permutation(DRAWS) for _ in range(7)]
    return (np.array(rows, dtype=np.float64) + 0.5) / DRAWS


@lru_cache(maxsize=1)
def _normals() -> Values:
    """Return the sample of `_uniforms` as standard normal values."""
    return np.asarray(ndtri(_uniforms()))


@lru_cache(maxsize=4096)
def _mean_squares(row: int, degrees: int) -> Values:
    """Return draws (DRAWS,) of a mean square divided by its expectation.

    From `APPROXIMATE` degrees of freedom, the approximation of Wilson and Hilferty 1931 is used.
    """
    if degrees < APPROXIMATE:
        return np.asarray(chdtri(degrees, 1.0 - _uniforms()[row]) / degrees)
    part = 2.0 / (9.0 * degrees)
    return np.asarray((1.0 - part + part**0.5 * _normals()[row]) ** 3)
