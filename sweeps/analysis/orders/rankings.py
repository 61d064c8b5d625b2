"""Whether configurations rank alike in every task order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, ndtri
from scipy.stats import rankdata

from clmethods.metrics import Direction
from sweeps.analysis.runs.replicates import Replicates, sample
from sweeps.statistics.intervals import LEVEL

Values = npt.NDArray[np.float64]

TIE = 1e-12
"""Means over seeds that are closer than this are equal."""


class Agreement(NamedTuple):
    """Kendall's coefficient of concordance over the orders."""

    w: float
    """1: every order ranks the configurations alike; near 0: no better than chance."""
    p_value: float
    """Of no agreement at all, by chi^2 = I (C - 1) W; rough below 7 configurations."""
    orders: int
    configurations: int


class Duel(NamedTuple):
    """Two configurations, order by order; `first` has the better mean over the orders."""

    first: str
    second: str
    wins: int
    """Orders in which `first` is better, averaged over seeds."""
    ties: int
    orders: int
    probability: float
    """That `first` is better in an order: wins and half of the ties, over the orders."""
    low: float
    high: float
    """Wilson's 95 % interval of it, for orders drawn at random."""

    @property
    def flips(self) -> int:
        """Orders in which the ranking of the two is turned around."""
        return self.orders - self.wins - self.ties


class Extremes(NamedTuple):
    """The task orders in which a configuration does best and worst, averaged over seeds."""

    label: str
    best_order: str
    best: float
    worst_order: str
    worst: float
    orders: int


def by_order(found: Sequence[Replicates], metric: str) -> tuple[list[Replicates], Values]:
    """(configurations, means (C, I)) over the orders that all of them ran.

    Methods that cannot depend on the order, references and upper bounds take no part.
    """
    kept = [
        one for one in found if one.eligible and not one.order_free and one.metrics.get(metric)
    ]
    means = [sample(one, metric).by_order() for one in kept]
    common = [o for o in (means[0] if means else {}) if all(o in others for others in means)]
    return kept, np.array([[row[o] for o in common] for row in means]).reshape(
        len(kept), len(common)
    )


def agreement(means: Values) -> Agreement | None:
    """Kendall's W (Kendall and Babington Smith 1939), corrected for ties, of `means` (C, I).

    None below 2 configurations x 2 orders, and if all are tied everywhere.
    """
    c, i = means.shape
    if min(c, i) < 2:
        return None
    ranks = np.stack([rankdata(np.round(column / TIE) * TIE) for column in means.T])  # (I, C)
    total = ranks.sum(axis=0)
    spread = float(((total - total.mean()) ** 2).sum())
    ties = 0.0
    for row in ranks:
        sizes = np.unique(row, return_counts=True)[1].astype(np.float64)
        ties += float((sizes**3 - sizes).sum())
    possible = i**2 * (c**3 - c) - i * ties
    if possible <= 0:
        return None
    w = 12 * spread / possible
    return Agreement(w, float(chdtrc(c - 1, i * (c - 1) * w)), i, c)


def duels(
    labels: Sequence[str], means: Values, direction: Direction, level: float = LEVEL
) -> list[Duel]:
    """Every pair of configurations of `means` (C, I), the most contested first."""
    sign = 1.0 if direction == "max" else -1.0
    found: list[Duel] = []
    if means.shape[1] == 0:
        return found
    for a, b in combinations(range(len(labels)), 2):
        ahead = sign * (means[a] - means[b])
        if ahead.mean() < 0:
            a, b, ahead = b, a, -ahead
        wins, ties = int((ahead > TIE).sum()), int((np.abs(ahead) <= TIE).sum())
        share = (wins + ties / 2) / ahead.size
        low, high = _wilson(share, ahead.size, level)
        found.append(Duel(labels[a], labels[b], wins, ties, ahead.size, share, low, high))
    return sorted(found, key=lambda duel: duel.probability)


def extremes(found: Sequence[Replicates], metric: str, direction: Direction) -> list[Extremes]:
    """Best and worst order of each configuration that ran several."""
    rows = []
    for one in found:
        means = sample(one, metric).by_order()
        if len(means) < 2:
            continue
        ranked = sorted(means, key=lambda order: (means[order], order))
        low, high = ranked[0], ranked[-1]
        best, worst = (high, low) if direction == "max" else (low, high)
        rows.append(Extremes(one.label, best, means[best], worst, means[worst], len(means)))
    return rows


def _wilson(share: float, n: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share of n (1927)."""
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n**2))) ** 0.5 / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
