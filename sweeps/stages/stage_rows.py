"""Rows of the result tables `stages`, `matrices` and `evals`, made from stored stages.

A stored stage contains its rows. The parts of a sweep are copies that can be written again at any
time. A crash between stage and part therefore needs no repair by hand, and a reused stage appears
in every sweep that uses it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from clmethods.config import evaluation_id, partition_id, short_id
from sweeps.definition import TrialSpec
from sweeps.results import (
    bundle_key,
    damaged_files,
    merge_results,
    set_aside,
    write_bundle,
)
from sweeps.stages.stage_store import StageReader, StageRecord, StageStore
from sweeps.storage import MissingObjectError

NO_COST = {
    "wall_s": 0.0,
    "cpu_s": 0.0,
    "peak_rss_bytes": 0,
    "host": "unknown",
    "host_kind": "unknown",
    "torch_version": "unknown",
    "timm_version": "unknown",
    "code_version": "unknown",
    "started_at": "unknown",
}
"""Values for a lost `cost.json`, and for fields that an earlier version did not write."""


def evaluation_ids(trial: TrialSpec) -> dict[str, str]:
    """Return the evaluation id of each readout of a trial, by readout id."""
    partition = partition_id(trial.run)
    return {r.readout_id: evaluation_id(r, partition) for r in trial.readouts}


def is_complete(store: StageStore, trial: TrialSpec, key: str) -> bool:
    """Return True if a stage is stored and evaluated for every readout of the trial.

    Takes one request.
    """
    return has_all(store.contents(key), trial)


def has_all(names: Collection[str], trial: TrialSpec) -> bool:
    """Return True if the names in a stage's folder are those of a complete stage."""
    counts = (f"evals/{identity}.json" for identity in evaluation_ids(trial).values())
    return "stage.json" in names and all(name in names for name in counts)


def bundle_of(sweep: str, trial: TrialSpec, key: str) -> str:
    """Return the key of the bundle that holds the rows of a stage for the readouts of a trial."""
    return bundle_key(sweep, _bundle_id(trial, key))


def materialize_stage(
    store: StageStore, sweep: str, trial: TrialSpec, key: str, reader: StageReader | None = None
) -> bool:
    """Write the rows of one complete stage; return False if the stage is damaged.

    `reader`: source of record and counts; the store if None.
    """
    reader = reader or store
    record = reader.record(key)
    if record is None:
        return False
    parts = {("stages", key): [stage_row(record)]}
    if record.result["method"]["matrices"]:
        parts["matrices", key] = [
            {"stage_key": key, **matrix} for matrix in record.result["method"]["matrices"]
        ]
    partition = partition_id(trial.run)
    for readout, identity in evaluation_ids(trial).items():
        counts = reader.evaluation(key, identity)
        if counts is None:
            return False
        shared = {"stage_key": key, "partition_id": partition, "readout_id": readout}
        parts["evals", f"{key}-{identity}"] = [shared | row for row in counts]
    write_bundle(store.objects, sweep, _bundle_id(trial, key), parts)
    return True


def repair_tables(store: StageStore, sweep: str) -> bool:
    """Move damaged files of a sweep's tables aside; return True if any must be written again.

    If there are many parts, they are merged first, so that the next check is fast.
    """
    merge_results(store.objects, sweep)
    damaged = damaged_files(store.objects, sweep)
    for key in damaged:
        with suppress(MissingObjectError):  # another driver was first
            set_aside(store.objects, [key])
    if damaged:
        names = list(damaged)
        store.report(f"{len(names)} damaged parts of the tables are written again: {names}")
    return bool(damaged)


def merge_tables(store: StageStore, sweep: str) -> None:
    """Merge the parts of every table into one file per table, or several if it is very large."""
    merge_results(store.objects, sweep, least=2)


def _bundle_id(trial: TrialSpec, key: str) -> str:
    return f"{key}-{short_id(sorted(evaluation_ids(trial).values()))}"


def stage_row(record: StageRecord) -> dict[str, object]:
    """Return the row of a stage in the table `stages`."""
    marker, training, method = record.marker, record.result["training"], record.result["method"]
    groups = marker["groups"]
    return {
        "stage_key": marker["key"],
        "parent": marker["parent"],
        "position": marker["position"],
        "task_key": marker["task_key"],
        "task": groups[0] if len(groups) == 1 else None,
        "classes": marker["classes"],
        "cross_entropy": training["cross_entropy"],
        "orthogonality": training["orthogonality"],
        "grad_norm": training["grad_norm"],
        "steps": training["steps"],
        "frozen_count": method["frozen_count"],
        "trainable_parameters": method["trainable_parameters"],
        "ortho_residual_max": method["ortho_residual_max"],
        "state_bytes": marker["state_bytes"],
        **{name: record.cost.get(name, default) for name, default in NO_COST.items()},
    }
