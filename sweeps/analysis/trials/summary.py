"""Summary table: one row of metrics per trial and readout, computed from evaluation counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.metrics import OF_COUNTS, metrics_of_many, missing_evaluations
from sweeps.analysis.trials.accuracy import SequenceCounts, TaskCounts, task_counts
from sweeps.results import latest_trials
from sweeps.results.rows import TrialRow

_COPIED = (
    ("trial_id", pa.string()),
    ("config_id", pa.string()),
    ("order_id", pa.string()),
    ("class_order_seed", pa.int64()),
    ("split_seed", pa.int64()),
    ("seed", pa.int64()),
    ("role", pa.string()),
    ("label", pa.string()),
    ("method", pa.string()),
    ("status", pa.string()),
)

_SIZES = ("trainable_parameters", "stored_bytes")
"""Columns of the trials table that can be objectives and have integer values."""

SUMMARY = pa.schema(
    [
        *_COPIED,
        ("readout_id", pa.string()),
        ("split", pa.string()),
        *((name, pa.float64()) for name in OF_COUNTS),
        *((name, pa.int64()) for name in _SIZES),
        ("reason", pa.string()),
    ]
)
"""Columns of a summary. `reason` explains why all metrics of a row are null; otherwise null."""


def summarize(trials: pa.Table, evals: pa.Table, split: str) -> pa.Table:
    """Return one row per (trial, readout) with all metrics, computed from the counts of `split`.

    The accuracy matrix of a trial is a[t, j] = correct predictions / images, summed over the
    classes of the j-th task of its order, after its t-th stage, among all classes seen so far
    (class-incremental). Only the last attempt of a trial counts. A trial that has not finished,
    that was stopped early or that lacks evaluations has a row with null metrics and a `reason`. A
    single metric is null if it is undefined, such as the forgetting of a joint run.

    The result has the columns of `SUMMARY`; accuracies are fractions.
    """
    pairs = [
        (trial, readout_id)
        for trial in latest_trials(trials).to_pylist()
        for readout_id in trial["readout_ids"]
    ]
    runs, readouts = [trial for trial, _ in pairs], [readout for _, readout in pairs]
    values = {name: np.full(len(pairs), np.nan) for name in OF_COUNTS}
    reasons: list[str | None] = [None] * len(pairs)
    for places, stack in task_counts(evals, split).of_many(runs, readouts):
        for k, reason in zip(places.tolist(), missing(runs, places, stack), strict=True):
            reasons[k] = reason
        known = np.array([reasons[k] is None for k in places.tolist()])
        if known.any():
            for name, column in metrics_of_many(stack.of(known).counts).items():
                values[name][places[known]] = column
    columns = {name: [run[name] for run in runs] for name, _ in _COPIED}
    columns |= {"readout_id": readouts, "split": [split] * len(runs), "reason": reasons}
    columns |= {name: [run[name] for run in runs] for name in _SIZES}
    arrays = [
        pa.array(values[field.name], mask=np.isnan(values[field.name]))
        if field.name in values
        else pa.array(columns[field.name], field.type)
        for field in SUMMARY
    ]
    return pa.Table.from_arrays(arrays, schema=SUMMARY)


def counted_runs(
    trials: Sequence[TrialRow], counts: TaskCounts, readout_id: str
) -> list[SequenceCounts | None]:
    """Return the counts of each row of the trials table; None if evaluations are missing."""
    results: list[SequenceCounts | None] = [None] * len(trials)
    for places, stack in counts.of_many(trials, [readout_id] * len(trials)):
        reasons = missing(trials, places, stack)
        for k, (place, reason) in enumerate(zip(places.tolist(), reasons, strict=True)):
            results[place] = None if reason else stack.of(k)
    return results


def counted_run(trial: TrialRow, counts: TaskCounts, readout_id: str) -> SequenceCounts | None:
    """Return the counts of one trial; None if evaluations are missing."""
    return counted_runs([trial], counts, readout_id)[0]


def missing(
    trials: Sequence[TrialRow], places: npt.NDArray[np.int64], counts: SequenceCounts
) -> list[str | None]:
    """Return reasons why the trials at `places` have no accuracy matrix; None if they have one."""
    _, stages, tasks = counts.n.shape
    incomplete = np.asarray(missing_evaluations(counts.n).any(axis=2))  # (N, S)
    return [
        _missing(trials[place], stages, tasks, row)
        for place, row in zip(places.tolist(), incomplete, strict=True)
    ]


def _missing(
    trial: TrialRow, stages: int, tasks: int, incomplete: npt.NDArray[np.bool_]
) -> str | None:
    """Return the reason why a trial has no accuracy matrix; None if it has one."""
    if trial["status"] == "stopped":
        return f"stopped after {trial['stages_done']} of {trial['stages_total']} tasks"
    if trial["status"] != "finished":
        kind = f": {trial['error_kind']}" if trial["error_kind"] else ""
        return f"{trial['status']}{kind}"
    if stages not in {1, tasks}:
        return f"{stages} stages for {tasks} tasks"
    if incomplete.any():
        positions = ", ".join(map(str, np.flatnonzero(incomplete)))
        return f"no complete evaluation after position {positions}"
    return None
