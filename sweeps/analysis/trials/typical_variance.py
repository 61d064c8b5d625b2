"""Typical variance of the difference between two configurations, estimated from results."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from sweeps.analysis.trials.power import VarianceEstimate, detectable_difference, estimate_variance
from sweeps.analysis.trials.replicates import Replicates, difference

MOST_PAIRS = 200
"""Maximum number of pairs that are evaluated."""


def typical_variance(configurations: Sequence[Replicates], metric: str) -> VarianceEstimate | None:
    """Return the variance estimate of the pair with the median detectable difference.

    Return None if no pair shares at least 2 orders x 2 seeds.
    """
    estimates = [
        estimate
        for first, second in [*combinations(configurations, 2)][:MOST_PAIRS]
        if (estimate := estimate_variance(difference(first, second, metric))) is not None
    ]
    if not estimates:
        return None
    ranked = sorted(estimates, key=lambda estimate: detectable_difference(estimate, 2, 2))
    return ranked[len(ranked) // 2]
