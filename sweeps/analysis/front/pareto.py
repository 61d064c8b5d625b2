"""Pareto front: configurations that no other configuration dominates in all objectives."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.readout import is_batch_wise, is_upper_bound
from clmethods.metrics import Direction
from sweeps.analysis.front.pareto_row import MeanEstimate, ParetoRow
from sweeps.analysis.trials.replicates import seed_of
from sweeps.statistics.intervals import iqm_interval, mean_interval

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Values = npt.NDArray[np.float64]

_CONFIGURATION = ("config_id", "label", "role", "readout_id")
_PLAIN = (
    *_CONFIGURATION,
    "n_replicates",
    "n_missing",
    "n_fewer",
    "interval",
    "stopped",
    "approximate",
    "on_front",
)


def front(points: npt.ArrayLike, directions: Sequence[Direction]) -> Mask:
    """Return a mask of the rows of `points` (N, M) that no other row dominates.

    A row dominates another if it is at least as good in all M objectives and better in at least
    one. `directions` holds `max` or `min` per objective. Equal rows do not dominate each other:
    all of them are on the front. A row with a NaN or an infinity is never on the front and
    dominates nothing. The cost is O(N log N) for M = 2, otherwise O(N) times the size of the
    front.

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
        * interval: description of the design, or the reason why there is no run;
        * stopped: True if early stopping ended every run before its last stage;
        * approximate: True if replicates are missing;
        * on_front: computed over common runs (`front_on_common_cells`).

        A configuration that was stopped early has no means and is never on the front. References
        and readouts that use the true task are never on the front and dominate nothing. Batch-wise
        readouts have a separate front, because they leak the task.

    Raises:
        KeyError: If the summary lacks an objective.
    """
    names = list(objectives)
    rows = pareto_rows(summary, objectives, fixed_orders=fixed_orders, iqm=iqm)
    return pa.Table.from_pylist([_columns(row) for row in rows], schema=_schema(names))


def pareto_rows(
    summary: pa.Table,
    objectives: Mapping[str, Direction],
    *,
    fixed_orders: bool = False,
    iqm: bool = False,
) -> list[ParetoRow]:
    """Return the rows of `pareto_table`."""
    names = list(objectives)
    for name in names:
        if name not in summary.column_names:
            raise KeyError(f"unknown objective {name!r}; columns: {summary.column_names}")
    runs_of = _by_configuration(summary, names)
    rows = [_row(key, runs, names, fixed_orders, iqm) for key, runs in runs_of.items()]
    for batch_wise in (False, True):
        selected = [
            (place, _cells(row, runs))
            for place, (row, runs) in enumerate(zip(rows, runs_of.values(), strict=True))
            if is_batch_wise(row.readout_id) == batch_wise
        ]
        cells = [own for _, own in selected]
        mask = front_on_common_cells(cells, list(objectives.values()), _middle if iqm else _means)
        most = max(map(len, cells), default=0)
        for (place, own), on_front in zip(selected, mask.tolist(), strict=True):
            n_fewer = most - len(own) if own else 0
            rows[place] = replace(rows[place], on_front=on_front, n_fewer=n_fewer)
    return rows


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
            ("stopped", pa.bool_()),
            ("approximate", pa.bool_()),
            ("on_front", pa.bool_()),
        ]
    )


def _columns(row: ParetoRow) -> dict[str, object]:
    """Return a row by the columns of `pareto_table`."""
    columns: dict[str, object] = {name: getattr(row, name) for name in _PLAIN}
    for name, estimate in row.estimates.items():
        columns |= {
            name: estimate.mean,
            f"{name}_low": estimate.low,
            f"{name}_high": estimate.high,
        }
    return columns


class _Run(NamedTuple):
    """Run of a configuration with its objectives."""

    order: Hashable
    seed: Hashable
    status: str
    reason: str | None
    """Reason why it has no metrics; None if it has them."""
    values: tuple[float | None, ...]


def _by_configuration(
    summary: pa.Table, names: Sequence[str]
) -> dict[tuple[str, ...], list[_Run]]:
    groups: dict[tuple[str, ...], list[_Run]] = {}
    factors = ["order_id", "seed", "split_seed", "class_order_seed", "status", "reason"]
    columns = summary.select(list(dict.fromkeys([*_CONFIGURATION, *factors, *names])))
    for row in columns.to_pylist():
        values = tuple(row[name] for name in names)
        run = _Run(row["order_id"], seed_of(row), row["status"], row["reason"], values)
        groups.setdefault(tuple(row[name] for name in _CONFIGURATION), []).append(run)
    return groups


def _row(
    configuration: tuple[str, ...],
    runs: Sequence[_Run],
    names: Sequence[str],
    fixed_orders: bool,
    iqm: bool,
) -> ParetoRow:
    done = [run for run in runs if run.reason is None]
    incomplete = [run for run in runs if run.reason is not None]
    reasons = {str(run.reason) for run in incomplete}
    stopped = len(reasons) == 1 and all(run.status == "stopped" for run in incomplete)
    design = reasons.pop() if stopped else "no finished run"
    approximate = len(done) < len(runs)
    estimates: dict[str, MeanEstimate] = {}
    for place, name in enumerate(names):
        has = [(run, value) for run in done if (value := run.values[place]) is not None]
        if not has:
            estimates[name] = MeanEstimate()
            continue
        samples = (
            [float(value) for _, value in has],
            [run.order for run, _ in has],
            [run.seed for run, _ in has],
        )
        interval = (
            iqm_interval(*samples) if iqm else mean_interval(*samples, fixed_orders=fixed_orders)
        )
        estimates[name] = MeanEstimate(interval.mean, interval.low, interval.high)
        design = interval.note
        approximate = approximate or interval.approximate or len(has) < len(done)
    config_id, label, role, readout_id = configuration
    return ParetoRow(
        config_id,
        label,
        role,
        readout_id,
        n_replicates=len(done),
        n_missing=len(incomplete),
        interval=design,
        stopped=stopped and not done,
        approximate=approximate,
        estimates=estimates,
    )


def _cells(row: ParetoRow, runs: Sequence[_Run]) -> dict[Hashable, list[float]]:
    """Return the objectives by cell; empty for a configuration that is not eligible."""
    if row.role == "reference" or is_upper_bound(row.readout_id):
        return {}
    cells: dict[Hashable, list[float]] = {}
    for run in runs:
        values = [value for value in run.values if value is not None and np.isfinite(value)]
        if run.reason is None and len(values) == len(run.values):
            cells[run.order, run.seed] = values
    return cells
