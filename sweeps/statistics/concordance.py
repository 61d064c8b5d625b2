"""Agreement of several rankings: Kendall's W with a permutation test."""

from __future__ import annotations

from itertools import permutations, product
from math import factorial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sweeps.statistics.ranks import average_ranks

Values = npt.NDArray[np.float64]

MOST_EXACT = 20_000
"""Most assignments of ranks that are enumerated; beyond, ranks are permuted at random."""
PERMUTATIONS = 9_999
"""Number of random permutations; the smallest p value is then 1e-4."""
ROUNDING = 1e-9


class Concordance(NamedTuple):
    """Kendall's coefficient of concordance of I rankings of C items."""

    w: float
    """1 if all rankings are equal; near 0 for random ones."""
    p_value: float
    """Probability of a W at least as large if all rankings are random."""
    exact: bool
    """True if all assignments of ranks were enumerated."""


def concordance(scores: npt.ArrayLike) -> Concordance | None:
    """Return Kendall's W of `scores` (I, C), one row per ranking, corrected for ties.

    W is that of Kendall and Babington Smith 1939. The p value comes from the permutation
    distribution, which holds for any number of items, rankings and ties; the usual chi-squared
    approximation rejects far too rarely for two or three rankings. All assignments of the ranks
    are enumerated if there are at most `MOST_EXACT`. Otherwise `PERMUTATIONS` random ones are
    drawn with a fixed seed, and the observed one counts as one of them (Phipson and Smyth 2010).

    Return None for fewer than two items or rankings, and if all items are tied in all rankings.
    """
    table = np.asarray(scores, dtype=np.float64)
    i, c = table.shape
    if min(i, c) < 2:
        return None
    ranks = average_ranks(table)  # (I, C)
    ties = sum(float((sizes**3 - sizes).sum()) for sizes in map(_tied, ranks))
    possible = i**2 * (c**3 - c) - i * ties
    if possible <= 0:
        return None
    observed = _spread(ranks.sum(axis=0))
    w = 12.0 * observed / possible
    at_least = observed * (1.0 - ROUNDING)
    if factorial(c) ** (i - 1) <= MOST_EXACT:
        others = [list(permutations(row)) for row in ranks[1:]]
        sums = np.array([ranks[0] + np.sum(rows, axis=0) for rows in product(*others)])
        return Concordance(w, float((_spread(sums) >= at_least).mean()), True)
    generator = np.random.default_rng(0)
    drawn = generator.permuted(np.broadcast_to(ranks, (PERMUTATIONS, i, c)), axis=2).sum(axis=1)
    hits = int((_spread(drawn) >= at_least).sum())
    return Concordance(w, (hits + 1) / (PERMUTATIONS + 1), False)


def _tied(row: Values) -> Values:
    return np.asarray(np.unique(row, return_counts=True)[1], dtype=np.float64)


def _spread(sums: Values) -> Values:
    """Return the sum of squared deviations of rank sums (..., C) from their mean."""
    return np.asarray(((sums - sums.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1))
