"""How much the difference between two configurations varies, from the results that are there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from sweeps.analysis.runs.power import Spread, detectable, spread_of
from sweeps.analysis.runs.replicates import Replicates, difference

MOST_PAIRS = 200
"""Pairs beyond which the first are enough."""


def result_spread(found: Sequence[Replicates], metric: str) -> Spread | None:
    """The spread of the pair in the middle of all pairs; None without 2 orders x 2 seeds."""
    spreads = [
        spread
        for one, other in [*combinations(found, 2)][:MOST_PAIRS]
        if (spread := spread_of(difference(one, other, metric))) is not None
    ]
    if not spreads:
        return None
    return sorted(spreads, key=lambda spread: detectable(spread, 2, 2))[len(spreads) // 2]
