"""What difference the replicates at hand can show, and how many would settle a question.

A difference is shown if its 95 % interval leaves 0 out. The size that is shown in 80 % of the
cases is computed with the formulas of the intervals, over what the mean squares can come out as,
given the components. Those are estimates that are taken as known: plans, not promises.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr

from sweeps.statistics.variance_components import components, crossed, unbalanced
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.quantiles import of_mean, t_quantile, variance_terms
from sweeps.analysis.runs.replicates import Sample

POWER = 0.8
PARTS = (12, 12, 4)
"""Equal parts of the distribution of each mean square, of which the middles are taken."""
MOST = 64
"""Orders or seeds beyond which no plan goes."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Variances of a quantity over orders and seeds, and the design that they come from."""

    order: float
    seed: float
    residual: float
    orders: int
    seeds: int


def spread_of(sample: Sample) -> Spread | None:
    """Components of a sample; None below 2 orders x 2 seeds."""
    i, j = len(set(sample.orders)), len(set(sample.seeds))
    if min(i, j) < 2:
        return None
    grid = crossed(sample.values, sample.orders, sample.seeds)
    if grid is not None:
        parts = components(grid)
        return Spread(parts.order, parts.seed, parts.residual, i, j)
    found = unbalanced(sample.values, sample.orders, sample.seeds)
    return Spread(found.order, found.seed, found.residual, i, j) if found else None


def detectable(spread: Spread, orders: int, seeds: int, level: float = LEVEL) -> float:
    """The difference that `mean_interval` over `orders` x `seeds`, 2 or more, shows in 80 %.

    The mean and the mean squares are independent, so the probability is a mean over the mean
    squares: here over a grid of equally likely ones, within a point of what simulation gives.
    """
    target, design = of_mean(orders, seeds), (orders, seeds)
    truth = (
        target.order * spread.order + target.seed * spread.seed + target.residual * spread.residual
    )
    if truth <= 0.0:
        return 0.0
    residual = spread.residual
    expected = np.array(
        [seeds * spread.order + residual, orders * spread.seed + residual, residual]
    )
    order, seed, rest = _outcomes(orders, seeds) * expected[:, None]
    terms = variance_terms((order, seed, rest), design, target)
    half = t_quantile(terms, design, target, level) * np.sqrt(terms.sum(axis=0) / truth)

    def shown(difference: float) -> float:  # both in standard errors
        return float((ndtr(difference - half) + ndtr(-difference - half)).mean())

    most = float(half.max()) + 4.0
    return float(brentq(lambda d: shown(d) - POWER, 0.0, most, xtol=1e-6) * np.sqrt(truth))


@lru_cache(maxsize=1024)
def _outcomes(orders: int, seeds: int) -> npt.NDArray[np.float64]:
    """(3, P): mean squares of order, seed and residual over their expectations, equally likely."""
    degrees = orders - 1, seeds - 1, (orders - 1) * (seeds - 1)
    middles = [(np.arange(parts) + 0.5) / parts for parts in PARTS]
    ratios = [chdtri(f, 1.0 - middle) / f for f, middle in zip(degrees, middles, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*ratios, indexing="ij")])


def needed(spread: Spread, difference: float) -> tuple[int, int] | None:
    """The (orders, seeds), no fewer than are there, with the fewest runs that show `difference`.

    None if no design up to `MOST` of each does.
    """
    best: tuple[int, int] | None = None
    for orders in range(spread.orders, MOST + 1):
        if best is not None and orders * spread.seeds >= best[0] * best[1]:
            break
        most = MOST if best is None else min(MOST, (best[0] * best[1] - 1) // orders)
        candidates = range(spread.seeds, most + 1)
        enough = bisect_left(
            candidates, True, key=partial(_shows, spread, abs(difference), orders)
        )
        if enough < len(candidates):
            best = orders, candidates[enough]
    return best


def _shows(spread: Spread, difference: float, orders: int, seeds: int) -> bool:
    return detectable(spread, orders, seeds) <= difference
