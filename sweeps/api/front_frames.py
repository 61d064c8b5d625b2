"""Data frames of configurations and of the Pareto front of one sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clmethods.errors import refuse, require
from sweeps.analysis.front.pareto import pareto_rows
from sweeps.analysis.front.pareto_table import front_rows
from sweeps.analysis.trials.factor_columns import with_factor_columns
from sweeps.analysis.trials.metric_choice import (
    SPLITS,
    Results,
    all_orders,
    chosen_readout,
    direction_of,
    summaries,
)
from sweeps.analysis.trials.replicates import check_names, measures
from sweeps.api.data_frames import INTERVAL_ENDS, frame_of_rows, interval_columns

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.definition.sweep import Sweep

_HEAD = ("label", "role", "method", "readout_id", "split", "n_replicates", "n_missing")
_FRONT = ("label", "role", "on_front", "knee", "p_front", "n_replicates", "stopped")


def configuration_frame(
    sweep: Sweep,
    results: Results,
    metrics: Sequence[str],
    readout: str | None,
    split: str | None,
) -> pd.DataFrame:
    """Return one row per configuration, readout and split; see `AnalyzedSweep`."""
    splits = SPLITS if split is None else (split,)
    by_split = summaries(results)
    names = list(metrics or sweep.objectives)
    check_names(names, measures(by_split["test"]))
    if readout is not None:
        known = by_split["test"]["readout_id"].unique().to_pylist()
        refuse([require(readout in known, "readout", readout, f"one of {known}")])
    directions = {name: direction_of(name) for name in names}
    rows: list[dict[str, Any]] = []
    paths: dict[str, None] = {}
    for each in splits:
        (summary,) = with_factor_columns([by_split[each]], [results.trials])
        factors = summary.column_names[len(by_split[each].column_names) :]
        paths |= dict.fromkeys(factors)
        shared = summary.select(["config_id", "method", *factors]).to_pylist()
        about = {row.pop("config_id"): row for row in shared}
        for row in pareto_rows(summary, directions, fixed_orders=all_orders(sweep)):
            if readout is not None and row.readout_id != readout:
                continue
            entry = {
                "label": row.label,
                "role": row.role,
                "readout_id": row.readout_id,
                "split": each,
                "n_replicates": row.n_replicates,
                "n_missing": row.n_missing,
                "interval": row.interval,
                "config_id": row.config_id,
                **about[row.config_id],
            }
            for name, estimate in row.estimates.items():
                entry |= interval_columns(name, estimate)
            rows.append(entry)
    numbers = [f"{name}{end}" for name in names for end in INTERVAL_ENDS]
    return frame_of_rows(rows, [*_HEAD, *paths, *numbers, "interval", "config_id"], numbers)


def front_frame(sweep: Sweep, results: Results, readout: str | None, iqm: bool) -> pd.DataFrame:
    """Return the rows of `front_rows`; see `AnalyzedSweep`."""
    name = chosen_readout(sweep, readout)
    objectives = list(sweep.objectives)
    rows = []
    for row in front_rows(sweep, summaries(results), name, iqm):
        entry: dict[str, Any] = {
            "label": row.label,
            "role": row.role,
            "on_front": row.on_front,
            "knee": row.knee,
            "p_front": row.p_front,
            "n_replicates": row.n_replicates,
            "stopped": row.validation.stopped,
            "interval": row.validation.interval,
            "readout_id": row.validation.readout_id,
            "config_id": row.config_id,
        }
        for split in SPLITS:
            for objective in objectives:
                estimate = row.estimate(objective, split)
                entry |= interval_columns(f"{split}.{objective}", estimate)
        rows.append(entry)
    estimates = [f"{s}.{n}{end}" for s in SPLITS for n in objectives for end in INTERVAL_ENDS]
    columns = [*_FRONT, *estimates, "interval", "readout_id", "config_id"]
    return frame_of_rows(rows, columns, ["p_front", *estimates])
