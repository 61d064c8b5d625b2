"""Typical variance of the difference between two configurations, estimated from results."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from sweeps.analysis.trials.power import Spread, detectable, spread_of
from sweeps.analysis.trials.replicates import Replicates, difference

MOST_PAIRS = 200
"""Maximum number of pairs that are evaluated."""


def result_spread(configurations: Sequence[Replicates], metric: str) -> Spread | None:
    """Return the median spread over all pairs by detectable difference.

    Return None if no pair shares at least 2 orders x 2 seeds.
    """
    spreads = [
        spread
        for first, second in [*combinations(configurations, 2)][:MOST_PAIRS]
        if (spread := spread_of(difference(first, second, metric))) is not None
    ]
    if not spreads:
        return None
    return sorted(spreads, key=lambda spread: detectable(spread, 2, 2))[len(spreads) // 2]
