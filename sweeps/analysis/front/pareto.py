"""Which configurations no other beats in every objective at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.readout import is_batch_wise, is_upper_bound
from clmethods.metrics import Direction
from sweeps.statistics.intervals import iqm_interval, mean_interval

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Values = npt.NDArray[np.float64]

_CONFIGURATION = ("config_id", "label", "role", "readout_id")


def front(points: npt.ArrayLike, directions: Sequence[Direction]) -> Mask:
    """Mask of the rows of `points` (N, M) that no other row dominates.

    A row dominates another if it is at least as good in all M objectives and better in one;
    `directions` says `max` or `min` for each. Equal rows do not dominate each other: ties stay on
    the front together. A row with a NaN or an infinity is never on it and beats nobody.

    Raises ValueError unless there is one direction per column. O(N log N) for M = 2, else N times
    the size of the front.
    """
    gain = gains(points, directions)  # (N, M)
    mask: Mask = np.zeros(len(gain), dtype=bool)
    rows = np.flatnonzero(np.isfinite(gain).all(axis=1))
    if gain.shape[1] == 2:
        # Ties in the first objective are ordered by the second: whoever dominates a row comes
        # before it.
        rows = rows[np.lexsort(-gain[rows][:, ::-1].T)]
        mask[rows] = _of_two(gain[rows])
    elif len(rows) > 0:
        mask[_culled(rows, gain)] = True
    return mask


def _culled(rows: Rows, gain: Values) -> Rows:
    """Those of `rows` of `gain` (N, M) on the front: what a row dominates goes, row by row.

    The rows with the largest sums come first: they dominate the most.
    """
    span = np.ptp(gain[rows], axis=0)
    rows = rows[np.argsort(-(gain[rows] / np.where(span > 0, span, 1.0)).sum(axis=1))]
    left, place = gain[rows], 0
    while place < len(rows):
        one = left[place]
        stays = (left > one).any(axis=1) | (left == one).all(axis=1)
        place = int(stays[: place + 1].sum())
        rows, left = rows[stays], left[stays]
    return rows


def _of_two(ranked: Values) -> Mask:
    """The front of rows (N, 2) that are sorted from the best down."""
    first, second = ranked.T
    starts = np.append(True, first[1:] < first[:-1])[: len(ranked)]
    group = np.cumsum(starts) - 1  # rows that are equal in the first objective
    best = np.maximum.accumulate(np.append(-np.inf, second[starts]))  # up to the group before
    return np.asarray((second > best[group]) & (second == second[starts][group]))


def _means(table: Values) -> Values:
    return np.asarray(table.mean(axis=1))


def front_on_common_cells(
    found: Sequence[Mapping[Hashable, Sequence[float]]],
    directions: Sequence[Direction],
    centre: Callable[[Values], Values] = _means,
) -> Mask:
    """Mask of the configurations that no other dominates over the runs that both have.

    Each entry of `found` maps a cell (order and seed) to its M objectives. Where all have the same
    cells, as in a complete sweep, this is the `front` of their means. Where a race gave some of
    them more runs, or runs failed, a mean over many cells is not set against one over few: what
    the further orders and seeds do to everybody would be taken for merit. One without a cell is
    never on the front and beats nobody. `centre` takes (C, K, M) to (C, M).
    """
    groups: dict[frozenset[Hashable], list[int]] = {}
    for index, cells in enumerate(found):
        if cells:
            groups.setdefault(frozenset(cells), []).append(index)
    mask = np.zeros(len(found), dtype=bool)
    for own, members in groups.items():
        mask[members] = True
        for other, rivals in groups.items():
            common = [cell for cell in found[members[0]] if cell in own & other]
            if not common:
                continue
            points, against = (
                centre(np.array([[found[i][cell] for cell in common] for i in rows], np.float64))
                for rows in (members, rivals)
            )
            if own == other:
                mask[members] &= front(points, directions)
            else:
                mask[members] &= ~_dominated(gains(points, directions), gains(against, directions))
    return mask


def _middle(table: Values) -> Values:
    """Interquartile means, as `iqm_interval` has them."""
    ranked, cut = np.sort(table, axis=1), table.shape[1] // 4
    return np.asarray(ranked[:, cut : table.shape[1] - cut].mean(axis=1))


def _dominated(gain: Values, by: Values) -> Mask:
    """(N,): whether some row of `by` (K, M) dominates each row of `gain` (N, M)."""
    return np.array(
        [bool(((by >= row).all(axis=1) & (by > row).any(axis=1)).any()) for row in gain]
    )


def gains(points: npt.ArrayLike, directions: Sequence[Direction]) -> Values:
    """The points (N, M) with the sign of every `min` turned, so that more is better.

    Raises ValueError unless there is one direction, `max` or `min`, per column.
    """
    table = np.asarray(points, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(directions) or not directions:
        raise ValueError(f"one direction per column, got {directions} for shape {table.shape}")
    unknown = sorted(set(directions) - {"max", "min"})
    if unknown:
        raise ValueError(f"directions are max or min, got {unknown}")
    return np.asarray(table * np.array([1.0 if d == "max" else -1.0 for d in directions]))


def pareto_table(
    summary: pa.Table,
    objectives: Mapping[str, Direction],
    *,
    fixed_orders: bool = False,
    iqm: bool = False,
) -> pa.Table:
    """One row per configuration and readout: each objective's mean and interval, and the front.

    `summary` comes from `sweeps.analysis.runs.summary`; `objectives` maps its columns to
    directions. Columns: config_id, label, role, readout_id; n_replicates, the runs with metrics,
    and n_missing, those without; n_fewer, how many runs another one has that this one, which
    competes too, has not; per objective NAME its mean, NAME_low and NAME_high over the runs that
    have it (ends null without an interval, all null where the objective does not exist, as the
    forgetting of a joint run); `interval`, the design in words; `approximate` if replicates are
    missing; on_front, judged by the means over the runs that two configurations have in common
    (`front_on_common_cells`). One that was stopped early has no means and is never on it.

    `fixed_orders`: the orders are all there are, see `mean_interval`. `iqm`: interquartile means
    in place of means, see `iqm_interval`.
    References, and readouts that are told the true task, are never on the front and push nobody
    off it. Batch-wise readouts have a front of their own: they leak the task. Raises KeyError for
    an objective that the summary lacks.
    """
    names = list(objectives)
    for name in names:
        if name not in summary.column_names:
            raise KeyError(f"no objective {name!r}; known: {summary.column_names}")
    of_each = _by_configuration(summary, names)
    rows = [_row(key, runs, names, fixed_orders, iqm) for key, runs in of_each.items()]
    for batch_wise in (False, True):
        kind = [
            (row, runs)
            for row, runs in zip(rows, of_each.values(), strict=True)
            if is_batch_wise(row["readout_id"]) == batch_wise
        ]
        cells = [_cells(row, runs, names) for row, runs in kind]
        mask = front_on_common_cells(cells, list(objectives.values()), _middle if iqm else _means)
        most = max(map(len, cells), default=0)
        for (row, _), own, on_front in zip(kind, cells, mask.tolist(), strict=True):
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
    factors = ["order_id", "seed", "split_seed", "class_order_seed", "reason"]
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
    reasons = {str(r["reason"]) for r in replicates if r["reason"] is not None}
    same = len(reasons) == 1 and next(iter(reasons)).startswith("stopped")
    row |= {
        "interval": reasons.pop() if same else "no finished run",
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
            [_seed(r) for r in has],
        )
        interval = iqm_interval(*runs) if iqm else mean_interval(*runs, fixed_orders=fixed_orders)
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
    """The objectives by (order, seed) of one that competes; none of one that does not."""
    if row["role"] == "reference" or is_upper_bound(row["readout_id"]):
        return {}
    found: dict[Hashable, list[float]] = {}
    for run in runs:
        values = [run[name] for name in names]
        if run["reason"] is None and all(v is not None and np.isfinite(v) for v in values):
            found[run["order_id"], _seed(run)] = values
    return found


def _seed(row: Mapping[str, Any]) -> Hashable:
    """All that is drawn anew with a seed: initialisation, split and class order."""
    return row["seed"], row["split_seed"], row["class_order_seed"]
