"""What difference the replicates at hand can show, and how many would settle a question.

A difference is shown if its 95 % interval leaves 0 out. One of (t_0.975 + t_0.8) standard errors
is shown with a probability of about 80 %: simulated, 70 to 80 %, and 62 % at 3 x 3 where neither
order nor seed matters, because floored components make the interval cautious. The components of
the paired differences are taken as known, so the answers are plans, not promises.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from sweeps.analysis.components import components, crossed, unbalanced
from sweeps.analysis.intervals import LEVEL
from sweeps.analysis.replicates import Sample

POWER = 0.8
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
    """The difference that `orders` x `seeds`, 2 or more each, show in about 80 % of the cases."""
    of_order = seeds * spread.order + spread.residual  # expected mean squares
    of_seed = orders * spread.seed + spread.residual
    variance = (of_order + of_seed - spread.residual) / (orders * seeds)
    if variance <= 0.0:
        return 0.0
    terms = (
        (of_order, orders - 1),
        (of_seed, seeds - 1),
        (spread.residual, (orders - 1) * (seeds - 1)),
    )
    squares = sum((term / (orders * seeds)) ** 2 / f for term, f in terms)
    degrees = max(variance**2 / squares, float(min(orders, seeds) - 1))
    quantiles = stdtrit(degrees, 0.5 + level / 2) + stdtrit(degrees, POWER)
    return float(quantiles * np.sqrt(variance))


def needed(spread: Spread, difference: float) -> tuple[int, int] | None:
    """The (orders, seeds), no fewer than are there, with the fewest runs that show `difference`.

    None if no design up to `MOST` of each does.
    """
    best: tuple[int, int] | None = None
    for orders in range(spread.orders, MOST + 1):
        if best is not None and orders * spread.seeds >= best[0] * best[1]:
            break
        for seeds in range(spread.seeds, MOST + 1):
            if best is not None and orders * seeds >= best[0] * best[1]:
                break
            if detectable(spread, orders, seeds) <= abs(difference):
                best = orders, seeds
                break
    return best
