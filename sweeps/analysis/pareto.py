"""Which configurations no other beats in every objective at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.readout import is_batch_wise, is_upper_bound
from clmethods.metrics import Direction
from sweeps.analysis.intervals import iqm_interval, mean_interval

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]

_CONFIGURATION = ("config_id", "label", "role", "readout_id")


def front(points: npt.ArrayLike, directions: Sequence[Direction]) -> Mask:
    """Mask of the rows of `points` (N, M) that no other row dominates.

    A row dominates another if it is at least as good in all M objectives and better in one;
    `directions` says `max` or `min` for each. Equal rows do not dominate each other: ties stay on
    the front together. A row with a NaN or an infinity is never on it and beats nobody.

    Raises ValueError unless there is one direction per column. Rows are visited from the best in
    the first objective on and held against the front so far: O(N log N) for M = 2, else N times
    the size of the front.
    """
    gain = gains(points, directions)  # (N, M)
    mask: Mask = np.asarray(np.isfinite(gain).all(axis=1))
    # Ties in the first objective are ordered by the second, and so on: whoever dominates a row
    # comes before it.
    rows = np.flatnonzero(mask)
    rows = rows[np.lexsort(-gain[rows][:, ::-1].T)]
    if gain.shape[1] == 2:
        mask[rows] = _of_two(gain[rows])
        return mask
    best = np.empty((0, gain.shape[1]))
    for index in rows:
        row = gain[index]
        no_worse = (best >= row).all(axis=1)
        mask[index] = not (no_worse & (best > row).any(axis=1)).any()
        if mask[index]:
            best = np.vstack([best, row])
    return mask


def _of_two(ranked: Values) -> Mask:
    """The front of rows (N, 2) that are sorted from the best down."""
    first, second = ranked.T
    starts = np.append(True, first[1:] < first[:-1])[: len(ranked)]
    group = np.cumsum(starts) - 1  # rows that are equal in the first objective
    best = np.maximum.accumulate(np.append(-np.inf, second[starts]))  # up to the group before
    return np.asarray((second > best[group]) & (second == second[starts][group]))


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

    `summary` comes from `sweeps.analysis.summary`; `objectives` maps its columns to directions.
    Columns: config_id, label, role, readout_id; n_replicates, the runs with metrics, and
    n_missing, those without; per objective NAME its mean, NAME_low and NAME_high over the runs
    that have it (ends null without an interval, all null where the objective does not exist, as
    the forgetting of a joint run); `interval`, the design in words; `approximate` if replicates
    are missing; on_front, judged by the means.

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
    rows = [
        _row(configuration, replicates, names, fixed_orders, iqm)
        for configuration, replicates in _by_configuration(summary, names).items()
    ]
    for batch_wise in (False, True):
        kind = [r for r in rows if is_batch_wise(r["readout_id"]) == batch_wise]
        eligible = np.array(
            [r["role"] != "reference" and not is_upper_bound(r["readout_id"]) for r in kind], bool
        )
        points = np.array([[r[name] for name in names] for r in kind], dtype=np.float64)
        points = points.reshape(len(kind), len(names))
        points[~eligible] = np.nan
        for row, on_front in zip(kind, front(points, list(objectives.values())), strict=True):
            row["on_front"] = bool(on_front)
    return pa.Table.from_pylist(rows, schema=_schema(names))


def _schema(names: Sequence[str]) -> pa.Schema:
    ends = [(f"{name}{end}", pa.float64()) for name in names for end in ("", "_low", "_high")]
    return pa.schema(
        [
            *((name, pa.string()) for name in _CONFIGURATION),
            ("n_replicates", pa.int32()),
            ("n_missing", pa.int32()),
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
    row |= {"interval": "no finished run", "approximate": len(done) < len(replicates)}
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


def _seed(row: Mapping[str, Any]) -> Hashable:
    """All that is drawn anew with a seed: initialisation, split and class order."""
    return row["seed"], row["split_seed"], row["class_order_seed"]
