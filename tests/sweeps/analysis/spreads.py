"""Coverage of the crossed intervals for given spreads, without noise from the centre.

With normal effects the centre and the mean squares are independent: given the mean squares, an
interval of half width h holds the truth with probability 2 Phi(h / sd) - 1, where sd is that of
the centre's error. The mean of that over drawn mean squares is surer than counting is.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.special import ndtr

from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.t_quantiles import (
    Target,
    of_mean,
    of_new_run,
    t_quantile,
    variance_terms,
)

RATIOS = (0.0, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0, 10.0)
"""Standard deviations of order and seed, in that of the residual."""


def targets(design: tuple[int, int]) -> dict[str, Target]:
    """Targets of the intervals of a crossed design."""
    return {
        "mean": of_mean(*design),
        "new run": of_new_run(*design, known_order=False),
        "same order": of_new_run(*design, known_order=True),
    }


def coverage(
    design: tuple[int, int], spreads: tuple[float, float, float], draws: int, seed: int = 0
) -> dict[str, float]:
    """Coverage for each of `targets`; `spreads` are those of order, seed and residual."""
    rng = np.random.default_rng([seed, *design])
    i, j = design
    order, seeds, residual = (spread**2 for spread in spreads)
    expected = (j * order + residual, i * seeds + residual, residual)
    freedoms = (i - 1, j - 1, (i - 1) * (j - 1))
    squares = [e * rng.chisquare(f, draws) / f for e, f in zip(expected, freedoms, strict=True)]
    found = {}
    for kind, target in targets(design).items():
        terms = variance_terms((squares[0], squares[1], squares[2]), design, target)
        quantile = t_quantile(terms, design, target, LEVEL)
        truth = target.order * order + target.seed * seeds + target.residual * residual
        half = quantile * np.sqrt(terms.sum(axis=0))
        found[kind] = float((2.0 * ndtr(half / np.sqrt(truth)) - 1.0).mean())
    return found


def least_coverage(design: tuple[int, int], draws: int) -> dict[str, float]:
    """The least over all pairs of `RATIOS`, for each of `targets`."""
    found = [
        coverage(design, (order, seed, 1.0), draws, number)
        for number, (order, seed) in enumerate(product(RATIOS, RATIOS))
    ]
    return {kind: min(one[kind] for one in found) for kind in found[0]}
