"""Agreement of the rankings of configurations over task orders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from clmethods.metrics import Direction
from sweeps.analysis.trials.replicates import Replicates, sample
from sweeps.statistics.concordance import concordance
from sweeps.statistics.intervals import LEVEL

Values = npt.NDArray[np.float64]

TIE = 1e-12
"""Largest difference of means over seeds that counts as a tie."""


class RankAgreement(NamedTuple):
    """Kendall's coefficient of concordance of the rankings over the orders."""

    w: float
    """1 if all orders rank the configurations identically; near 0 for random rankings."""
    p_value: float
    """p-value of no agreement, by permutation (`sweeps.statistics.concordance`)."""
    orders: int
    configurations: int


class PairwiseComparison(NamedTuple):
    """Two configurations compared order by order; `first` has the better mean over the orders."""

    first: str
    second: str
    wins: int
    """Number of orders in which the mean of `first` over the seeds is better."""
    ties: int
    orders: int
    probability: float
    """Estimated probability that `first` is better in an order: wins plus half of the ties,
    divided by the number of orders."""
    low: float
    high: float
    """Upper end of Wilson's 95 % interval of the probability, for orders drawn at random."""

    @property
    def flips(self) -> int:
        """Number of orders in which `second` is better."""
        return self.orders - self.wins - self.ties


class ExtremeOrders(NamedTuple):
    """Best and worst task order of a configuration, by the mean over seeds."""

    label: str
    best_order: str
    best: float
    worst_order: str
    worst: float
    orders: int


def ranked_configurations(configurations: Sequence[Replicates]) -> list[Replicates]:
    """Return the configurations whose ranking is analyzed: those of the search, or else all.

    Baselines that are clearly better or worse in every order would make any ranking look stable.
    """
    searched = [each for each in configurations if each.role == "search"]
    return searched or list(configurations)


def by_order(configurations: Sequence[Replicates], metric: str) -> tuple[list[Replicates], Values]:
    """Return the configurations and their means (C, I) over the orders that all of them ran.

    Methods that do not depend on the order, references and upper bounds are excluded.
    """
    kept = [
        configuration
        for configuration in configurations
        if configuration.eligible
        and not configuration.order_free
        and configuration.metrics.get(metric)
    ]
    means = [sample(configuration, metric).by_order() for configuration in kept]
    common = [o for o in (means[0] if means else {}) if all(o in others for others in means)]
    return kept, np.array([[row[o] for o in common] for row in means]).reshape(
        len(kept), len(common)
    )


def rank_agreement(means: Values) -> RankAgreement | None:
    """Return Kendall's W of `means` (C, I), corrected for ties.

    Reference: Kendall and Babington Smith 1939. Return None for fewer than 2 configurations or 2
    orders, and if all configurations are tied in all orders.
    """
    c, i = means.shape
    if min(c, i) < 2:
        return None
    found = concordance(np.round(means.T / TIE) * TIE)
    return None if found is None else RankAgreement(found.w, found.p_value, i, c)


def pairwise_comparisons(
    labels: Sequence[str], means: Values, direction: Direction, level: float = LEVEL
) -> list[PairwiseComparison]:
    """Return every pair of configurations of `means` (C, I), the closest pairs first."""
    sign = 1.0 if direction == "max" else -1.0
    pairs: list[PairwiseComparison] = []
    if means.shape[1] == 0:
        return pairs
    for a, b in combinations(range(len(labels)), 2):
        ahead = sign * (means[a] - means[b])
        if ahead.mean() < 0:
            a, b, ahead = b, a, -ahead
        wins, ties = int((ahead > TIE).sum()), int((np.abs(ahead) <= TIE).sum())
        share = (wins + ties / 2) / ahead.size
        low, high = _wilson(share, ahead.size, level)
        pairs.append(
            PairwiseComparison(labels[a], labels[b], wins, ties, ahead.size, share, low, high)
        )
    return sorted(pairs, key=lambda pair: pair.probability)


def extreme_orders(
    configurations: Sequence[Replicates], metric: str, direction: Direction
) -> list[ExtremeOrders]:
    """Return the best and the worst order of each configuration with at least two orders."""
    rows = []
    for configuration in configurations:
        means = sample(configuration, metric).by_order()
        if len(means) < 2:
            continue
        ranked = sorted(means, key=lambda order: (means[order], order))
        low, high = ranked[0], ranked[-1]
        best, worst = (high, low) if direction == "max" else (low, high)
        rows.append(
            ExtremeOrders(configuration.label, best, means[best], worst, means[worst], len(means))
        )
    return rows


def _wilson(share: float, n: int, level: float) -> tuple[float, float]:
    """Return the score interval of a share of n (Wilson 1927)."""
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n**2))) ** 0.5 / (1 + z2 / n)
    return max(0.0, center - half), min(1.0, center + half)
