"""Dominance: the Pareto front of points, and of configurations over their common runs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from clmethods.metrics import Direction

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Values = npt.NDArray[np.float64]


def front(points: npt.ArrayLike, directions: Sequence[Direction]) -> Mask:
    """Return a mask of the rows of `points` (N, M) that no other row dominates.

    A row dominates another if it is at least as good in all M objectives and better in at least
    one. `directions` holds `max` or `min` per objective. Equal rows do not dominate each other:
    all of them are on the front. A row with a NaN or an infinity is never on the front and
    dominates nothing. The cost is O(N log N) for M = 2 and 3, otherwise O(N) times the size of
    the front.

    Raises:
        ValueError: Unless there is one direction per column.
    """
    gain = gains(points, directions)  # (N, M)
    mask: Mask = np.zeros(len(gain), dtype=bool)
    rows = np.flatnonzero(np.isfinite(gain).all(axis=1))
    if gain.shape[1] == 2:
        # Ties in the first objective are sorted by the second, so that a row comes after all rows
        # that dominate it.
        rows = rows[np.lexsort(-gain[rows][:, ::-1].T)]
        mask[rows] = _of_two(gain[rows])
    elif gain.shape[1] == 3:
        rows = rows[np.lexsort(-gain[rows][:, ::-1].T)]
        mask[rows] = _of_three(gain[rows])
    elif len(rows) > 0:
        mask[_culled(rows, gain)] = True
    return mask


def _culled(rows: Rows, gain: Values) -> Rows:
    """Return those of `rows` of `gain` (N, M) that are on the front.

    Dominated rows are removed candidate by candidate. Candidates with the largest sums come first,
    because they dominate the most rows.
    """
    span = np.ptp(gain[rows], axis=0)
    rows = rows[np.argsort(-(gain[rows] / np.where(span > 0, span, 1.0)).sum(axis=1))]
    remaining, place = gain[rows], 0
    while place < len(rows):
        candidate = remaining[place]
        stays = (remaining > candidate).any(axis=1) | (remaining == candidate).all(axis=1)
        place = int(stays[: place + 1].sum())
        rows, remaining = rows[stays], remaining[stays]
    return rows


def _of_two(ranked: Values) -> Mask:
    """Return the front mask of rows (N, 2) that are sorted from the best to the worst."""
    first, second = ranked.T
    starts = np.append(True, first[1:] < first[:-1])[: len(ranked)]
    group = np.cumsum(starts) - 1  # rows that are equal in the first objective
    best = np.maximum.accumulate(np.append(-np.inf, second[starts]))  # over the previous groups
    return np.asarray((second > best[group]) & (second == second[starts][group]))


def _of_three(ranked: Values) -> Mask:
    """Return the front mask of rows (N, 3) that are sorted from the best to the worst.

    Rows come after all rows that dominate them. Those seen so far are represented by a staircase
    in the second and third objective: increasing in the second, decreasing in the third (Kung,
    Luccio and Preparata 1975).
    """
    mask = np.zeros(len(ranked), dtype=bool)
    steps: list[float] = []  # second objectives, increasing
    heights: list[float] = []  # best third objective at each step or beyond, decreasing
    previous: tuple[float, ...] | None = None
    for k, row in enumerate(map(tuple, ranked.tolist())):
        if row == previous:  # equal rows do not dominate each other
            mask[k] = mask[k - 1]
            continue
        previous = row
        _, second, third = row
        place = bisect_left(steps, second)
        if place < len(steps) and heights[place] >= third:
            continue
        mask[k] = True
        end = place + 1 if place < len(steps) and steps[place] == second else place
        start = bisect_left(heights, -third, hi=place, key=lambda height: -height)
        steps[start:end], heights[start:end] = [second], [third]
    return mask


def run_means(table: Values) -> Values:
    return np.asarray(table.mean(axis=1))


def front_on_common_cells(
    configurations: Sequence[Mapping[Hashable, Sequence[float]]],
    directions: Sequence[Direction],
    center: Callable[[Values], Values] = run_means,
) -> Mask:
    """Return a mask of the configurations that no other dominates over their common runs.

    Each entry of `configurations` maps a cell (order and seed) to the M objectives of one
    configuration. If all have the same cells, as in a complete sweep, the result is the `front` of
    their means. If a race gave some configurations more runs, or if runs failed, two
    configurations are compared over the cells that both have. Means over different cells would
    attribute the effects of the additional orders and seeds to the configurations. A configuration
    without a cell is never on the front and dominates nothing. `center` reduces (C, K, M) to
    (C, M).
    """
    groups: dict[frozenset[Hashable], list[int]] = {}
    for index, cells in enumerate(configurations):
        if cells:
            groups.setdefault(frozenset(cells), []).append(index)
    mask = np.zeros(len(configurations), dtype=bool)
    for own, members in groups.items():
        mask[members] = True
        for other, rivals in groups.items():
            common = [cell for cell in configurations[members[0]] if cell in own & other]
            if not common:
                continue
            points, rival_points = (
                center(
                    np.array(
                        [[configurations[i][cell] for cell in common] for i in rows], np.float64
                    )
                )
                for rows in (members, rivals)
            )
            if own == other:
                mask[members] &= front(points, directions)
            else:
                mask[members] &= ~_dominated(
                    gains(points, directions), gains(rival_points, directions)
                )
    return mask


def run_interquartile_means(table: Values) -> Values:
    """Return interquartile means over the runs, as `iqm_interval` computes them."""
    ranked, cut = np.sort(table, axis=1), table.shape[1] // 4
    return np.asarray(ranked[:, cut : table.shape[1] - cut].mean(axis=1))


def _dominated(gain: Values, by: Values) -> Mask:
    """Return a mask (N,) of the rows of `gain` (N, M) that some row of `by` (K, M) dominates."""
    return np.array(
        [bool(((by >= row).all(axis=1) & (by > row).any(axis=1)).any()) for row in gain]
    )


def gains(points: npt.ArrayLike, directions: Sequence[Direction]) -> Values:
    """Return the points (N, M) with negated `min` columns, so that more is better.

    Raises:
        ValueError: Unless there is one direction, `max` or `min`, per column.
    """
    table = np.asarray(points, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(directions) or not directions:
        raise ValueError(
            f"one direction per column is required, got {directions} for shape {table.shape}"
        )
    unknown = sorted(set(directions) - {"max", "min"})
    if unknown:
        raise ValueError(f"directions must be max or min, got {unknown}")
    return np.asarray(table * np.array([1.0 if d == "max" else -1.0 for d in directions]))
