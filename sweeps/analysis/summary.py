"""Trials and evaluation counts -> one row of metrics per trial and readout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from clmethods.metrics import OF_COUNTS, every_metric
from sweeps.analysis.accuracy import SequenceCounts, TaskCounts
from sweeps.results import latest_trials

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

SUMMARY = pa.schema(
    [
        *_COPIED,
        ("readout_id", pa.string()),
        ("split", pa.string()),
        *((name, pa.float64()) for name in OF_COUNTS),
        ("trainable_parameters", pa.int64()),
        ("stored_bytes", pa.int64()),
        ("reason", pa.string()),
    ]
)
"""Columns of a summary. `reason` says why all metrics of a row are null, and is null otherwise."""


def summarise(trials: pa.Table, evals: pa.Table, split: str) -> pa.Table:
    """One row per (trial, readout) with every metric, computed from the counts of `split`.

    The accuracy matrix of a trial has a[t, j] = right answers over images, summed over the
    classes of the j-th task of its order, after its t-th stage, among all classes seen by then
    (class-incremental). Only the last attempt of a trial counts. A trial that has not finished,
    or was stopped early, or whose evaluations are not all there, keeps its row with null metrics
    and a `reason`. A metric alone is null where it is undefined, such as the forgetting of a joint
    run.

    The result has the columns of `SUMMARY`; accuracies are fractions.
    """
    counts = TaskCounts(evals, split)
    rows = [
        _row(trial, readout_id, split, counts)
        for trial in latest_trials(trials).to_pylist()
        for readout_id in trial["readout_ids"]
    ]
    return pa.Table.from_pylist(rows, schema=SUMMARY)


def trial_counts(trial: dict[str, Any], readout_id: str, counts: TaskCounts) -> SequenceCounts:
    """The counts of a trial (a row of the trials table): stages by tasks as learned."""
    return counts.of(trial["stage_keys"], trial["partition_id"], readout_id, trial["task_order"])


def missing(trial: dict[str, Any], found: SequenceCounts) -> str | None:
    """Why the counts do not make an accuracy matrix, or None if they do."""
    if trial["status"] == "stopped":
        return f"stopped after {trial['stages_done']} of {trial['stages_total']} tasks"
    if trial["status"] != "finished":
        kind = f": {trial['error_kind']}" if trial["error_kind"] else ""
        return f"{trial['status']}{kind}"
    stages, tasks = found.n.shape
    if stages not in {1, tasks}:
        return f"{stages} stages for {tasks} tasks"
    needed = np.tril(np.ones((stages, tasks), dtype=bool)) if stages == tasks else np.True_
    holes = ((found.n == 0) & needed).any(axis=1)
    if holes.any():
        positions = ", ".join(map(str, np.flatnonzero(holes)))
        return f"no complete evaluation after position {positions}"
    return None


def _row(trial: dict[str, Any], readout_id: str, split: str, counts: TaskCounts) -> dict[str, Any]:
    found = trial_counts(trial, readout_id, counts)
    reason = missing(trial, found)
    row: dict[str, Any] = {name: trial[name] for name, _ in _COPIED}
    row |= {
        "readout_id": readout_id,
        "split": split,
        "trainable_parameters": trial["trainable_parameters"],
        "stored_bytes": trial["stored_bytes"],
        "reason": reason,
    }
    if reason is None:
        values = every_metric(found.counts)
        row |= {name: values[name] for name in OF_COUNTS}
    return row
