"""Pareto front: configurations that no other configuration dominates in all objectives."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.readout import is_batch_wise, is_upper_bound
from clmethods.metrics import ACCURACIES, Direction
from sweeps.analysis.trials.replicates import seed_of
from sweeps.statistics.intervals import iqm_interval, mean_interval

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Values = npt.NDArray[np.float64]

_CONFIGURATION = ("config_id", "label", "role", "readout_id")


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


def _means(table: Values) -> Values:
    return np.asarray(table.mean(axis=1))


def front_on_common_cells(
    configurations: Sequence[Mapping[Hashable, Sequence[float]]],
    directions: Sequence[Direction],
    center: Callable[[Values], Values] = _means,
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


def _middle(table: Values) -> Values:
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


def pareto_table(
    summary: pa.Table,
    objectives: Mapping[str, Direction],
    *,
    fixed_orders: bool = False,
    iqm: bool = False,
) -> pa.Table:
    """Return one row per configuration and readout: objectives with intervals, and the front.

    Args:
        summary: Table of `sweeps.analysis.trials.summary`.
        objectives: Directions by column of the summary.
        fixed_orders: The orders are the whole population, see `mean_interval`.
        iqm: Use interquartile means instead of means, see `iqm_interval`.

    Returns:
        Table with the columns

        * config_id, label, role, readout_id;
        * n_replicates: number of runs with metrics; n_missing: number of runs without;
        * n_fewer: number of runs by which another eligible configuration has more than this one;
        * NAME, NAME_low, NAME_high per objective: mean and interval over the runs that have it.
          The ends are null without an interval; all three are null if the objective does not
          exist, such as the forgetting of a joint run;
        * interval: description of the design;
        * approximate: True if replicates are missing;
        * on_front: computed over common runs (`front_on_common_cells`).

        A configuration that was stopped early has no means and is never on the front. References
        and readouts that use the true task are never on the front and dominate nothing. Batch-wise
        readouts have a separate front, because they leak the task.

    Raises:
        KeyError: If the summary lacks an objective.
    """
    names = list(objectives)
    for name in names:
        if name not in summary.column_names:
            raise KeyError(f"unknown objective {name!r}; columns: {summary.column_names}")
    runs_of = _by_configuration(summary, names)
    rows = [_row(key, runs, names, fixed_orders, iqm) for key, runs in runs_of.items()]
    for batch_wise in (False, True):
        selected = [
            (row, runs)
            for row, runs in zip(rows, runs_of.values(), strict=True)
            if is_batch_wise(row["readout_id"]) == batch_wise
        ]
        cells = [_cells(row, runs, names) for row, runs in selected]
        mask = front_on_common_cells(cells, list(objectives.values()), _middle if iqm else _means)
        most = max(map(len, cells), default=0)
        for (row, _), own, on_front in zip(selected, cells, mask.tolist(), strict=True):
            row["on_front"] = on_front
            row["n_fewer"] = most - len(own) if own else 0
    return pa.Table.from_pylist(rows, schema=_schema(names))


def _schema(names: Sequence[str]) -> pa.Schema:
    ends = [(f"{name}{end}", pa.float64()) for name in names for end in ("", "_low", "_high")]
    return pa.schema(
        [
            *((name, pa.string()) for name in _CONFIGURATION),
            ("n_replicates", pa.int32()),
            ("n_missing", pa.int32()),
            ("n_fewer", pa.int32()),
            *ends,
            ("interval", pa.string()),
            ("approximate", pa.bool_()),
            ("on_front", pa.bool_()),
        ]
    )


def _by_configuration(
    summary: pa.Table, names: Sequence[str]
) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    factors = ["order_id", "seed", "split_seed", "class_order_seed", "status", "reason"]
    columns = summary.select(list(dict.fromkeys([*_CONFIGURATION, *factors, *names])))
    for row in columns.to_pylist():
        groups.setdefault(tuple(row[name] for name in _CONFIGURATION), []).append(row)
    return groups


def _row(
    configuration: tuple[str, ...],
    replicates: list[dict[str, Any]],
    names: Sequence[str],
    fixed_orders: bool,
    iqm: bool,
) -> dict[str, Any]:
    done = [r for r in replicates if r["reason"] is None]
    row: dict[str, Any] = dict(zip(_CONFIGURATION, configuration, strict=True))
    row |= {"n_replicates": len(done), "n_missing": len(replicates) - len(done)}
    incomplete = [r for r in replicates if r["reason"] is not None]
    reasons = {str(r["reason"]) for r in incomplete}
    stopped = len(reasons) == 1 and all(r["status"] == "stopped" for r in incomplete)
    row |= {
        "interval": reasons.pop() if stopped else "no finished run",
        "approximate": len(done) < len(replicates),
    }
    for name in names:
        has = [r for r in done if r[name] is not None]
        row[name] = None
        if not has:
            continue
        runs = (
            [float(r[name]) for r in has],
            [r["order_id"] for r in has],
            [seed_of(r) for r in has],
        )
        bounded = name in ACCURACIES
        interval = (
            iqm_interval(*runs)
            if iqm
            else mean_interval(*runs, fixed_orders=fixed_orders, fractions=bounded)
        )
        row |= {
            name: interval.mean,
            f"{name}_low": interval.low,
            f"{name}_high": interval.high,
            "interval": interval.note,
            "approximate": row["approximate"] or interval.approximate or len(has) < len(done),
        }
    return row


def _cells(
    row: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[Hashable, list[float]]:
    """Return the objectives by cell; empty for a configuration that is not eligible."""
    if row["role"] == "reference" or is_upper_bound(row["readout_id"]):
        return {}
    cells: dict[Hashable, list[float]] = {}
    for run in runs:
        values = [run[name] for name in names]
        if run["reason"] is None and all(v is not None and np.isfinite(v) for v in values):
            cells[run["order_id"], seed_of(run)] = values
    return cells
