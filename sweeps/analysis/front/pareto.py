"""Pareto front: configurations that no other configuration dominates in all objectives."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.config.readout import is_batch_wise, is_upper_bound
from clmethods.metrics import ACCURACIES, Direction
from sweeps.analysis.front.dominance import (
    front_on_common_cells,
    run_interquartile_means,
    run_means,
)
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
        mask = front_on_common_cells(
            cells, list(objectives.values()), run_interquartile_means if iqm else run_means
        )
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
            iqm_interval(*samples)
            if iqm
            else mean_interval(*samples, fixed_orders=fixed_orders, fractions=name in ACCURACIES)
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
