"""From stored stages to the rows of a sweep's tables.

A stage holds its own rows, so a sweep's parts are copies that can be made again at any time: a
crash between stage and part repairs itself, and a reused stage appears in every sweep using it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from clmethods.config import evaluation_id, partition_id
from sweeps.results import TABLES, damaged_files, merge_parts, set_aside, write_part
from sweeps.spec import TrialSpec
from sweeps.stages.store import StageRecord, StageStore
from sweeps.storage import MissingObjectError

NO_COST = {
    "wall_s": 0.0,
    "cpu_s": 0.0,
    "peak_rss_bytes": 0,
    "host_kind": "unknown",
    "torch_version": "unknown",
    "timm_version": "unknown",
    "code_version": "unknown",
    "started_at": "unknown",
}
"""Stands in for a lost `cost.json`."""


def is_complete(store: StageStore, trial: TrialSpec, key: str) -> bool:
    """Whether a stage is stored and evaluated for every readout of the trial."""
    partition = partition_id(trial.run)
    return store.has(key) and all(
        store.has_evaluation(key, evaluation_id(readout, partition)) for readout in trial.readouts
    )


def materialise_stage(store: StageStore, sweep: str, trial: TrialSpec, key: str) -> bool:
    """Write the parts of one complete stage; False if the stage turned out to be damaged."""
    record = store.record(key)
    if record is None:
        return False
    write_part(store.objects, sweep, "stages", key, [_stage_row(record)])
    rows = [_matrix_row(key, matrix) for matrix in record.result["method"]["matrices"]]
    if rows:
        write_part(store.objects, sweep, "matrices", key, rows)
    partition = partition_id(trial.run)
    for readout in trial.readouts:
        identity = evaluation_id(readout, partition)
        counts = store.evaluation(key, identity)
        if counts is None:
            return False
        shared = {
            "stage_key": key,
            "partition_id": partition,
            "readout_id": readout.readout_id,
        }
        part = f"{key}-{identity}"
        write_part(store.objects, sweep, "evals", part, [shared | row for row in counts])
    return True


def mend_tables(store: StageStore, sweep: str) -> bool:
    """Move damaged files of a sweep's tables aside; True if there were any to be written again.

    Parts that have become many are merged first, so that the next look is quick.
    """
    merge_tables(store, sweep)
    damaged = [key for table in TABLES for key in damaged_files(store.objects, sweep, table)]
    for part in damaged:
        with suppress(MissingObjectError):  # another driver was first
            set_aside(store.objects, [part])
    if damaged:
        store.report(f"{len(damaged)} damaged parts of the tables are written again: {damaged}")
    return bool(damaged)


def merge_tables(store: StageStore, sweep: str) -> None:
    """Merge the parts of every table that has many."""
    for table in TABLES:
        merge_parts(store.objects, sweep, table)


def _stage_row(record: StageRecord) -> dict[str, Any]:
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


def _matrix_row(key: str, matrix: dict[str, Any]) -> dict[str, Any]:
    return {"stage_key": key, **matrix}
