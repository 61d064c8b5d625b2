"""Mean ranks of configurations over task orders, with groups that the runs do not distinguish."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from clmethods.metrics import Direction
from sweeps.analysis.orders.rankings import TIE, by_order
from sweeps.analysis.trials.paired_differences import compare
from sweeps.analysis.trials.replicates import Replicates
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.multiple_comparisons import holm

Ranks = npt.NDArray[np.float64]


class MeanRanks(NamedTuple):
    """Configurations by mean rank, the best first."""

    labels: tuple[str, ...]
    ranks: tuple[float, ...]
    """Means over orders of the ranks by the mean over seeds; 1 is the best, ties share a rank."""
    groups: tuple[tuple[int, int], ...]
    """First and last place, from 0, of the largest groups in which no pair differs significantly;
    each has two or more configurations."""
    orders: int
    compared: int
    """Number of ranked configurations, also of those that are not listed."""


def mean_ranks(
    configurations: Sequence[Replicates],
    metric: str,
    direction: Direction,
    *,
    most: int,
    fixed_orders: bool = False,
) -> MeanRanks | None:
    """Return the best `most` configurations by mean rank; None without a common ranking.

    The figure is that of Demsar 2006 (Journal of Machine Learning Research 7, 1-30). Its critical
    difference of ranks assumes independent blocks of which there are many, and orders are few and
    share seeds. Pairs are therefore compared by the paired intervals of the whole package, with p
    values adjusted by Holm's method for all pairs of the listed configurations.
    """
    kept, means = by_order(configurations, metric)
    if min(means.shape) < 2:
        return None
    sign = -1.0 if direction == "max" else 1.0
    rounded = np.round(sign * means / TIE) * TIE
    ranks = np.stack([rankdata(column) for column in rounded.T]).mean(axis=0)  # (C,)
    listed = np.lexsort((sign * means.mean(axis=1), ranks))[:most].tolist()
    pairs = list(combinations(range(len(listed)), 2))
    p_values = []
    for a, b in pairs:
        found = compare(kept[listed[a]], kept[listed[b]], metric, fixed_orders=fixed_orders)
        p_values.append(np.nan if found is None or found.p_value is None else found.p_value)
    different = {
        pair for pair, p in zip(pairs, holm(p_values).tolist(), strict=True) if p < 1.0 - LEVEL
    }
    return MeanRanks(
        tuple(kept[c].label for c in listed),
        tuple(ranks[listed].tolist()),
        largest_groups(len(listed), different),
        means.shape[1],
        len(kept),
    )


def largest_groups(count: int, different: set[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the largest ranges (first, last) of places without a pair of `different`.

    Pairs are (a, b) with a < b. A range inside another one, or of one place, is left out.
    """
    groups: list[tuple[int, int]] = []
    for first in range(count):
        last = first
        while last + 1 < count and not any(
            (place, last + 1) in different for place in range(first, last + 1)
        ):
            last += 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return tuple(groups)
