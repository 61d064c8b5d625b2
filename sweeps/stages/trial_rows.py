"""Row of the table `trials`, written when an attempt of a trial ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from clmethods.config import canonical_json, partition_id
from clmethods.provenance import code_version
from sweeps.definition import Sweep, TrialSpec
from sweeps.errors import SweepsError
from sweeps.results import trial_part_id, write_part
from sweeps.results.bundles import parts_in
from sweeps.results.parquet_files import DamagedFileError
from sweeps.stages.stage_rows import bundle_of, stage_row
from sweeps.stages.stage_store import StageStore
from sweeps.storage import MissingObjectError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """Status of an ended attempt, with its error if it failed."""

    status: Literal["finished", "failed", "stopped"]
    stages_done: int
    error: str | None = None
    error_kind: str | None = None
    node: str = ""
    """Node on which it failed, for the event log; empty if not known."""


class MissingStagesError(SweepsError, RuntimeError):
    """Raised for a trial that is reported as finished while the storage lacks stages of it."""

    def __init__(self, missing: int, total: int) -> None:
        super().__init__(f"{missing} of {total} stages are missing or damaged in the storage")


def record_trial(
    store: StageStore, sweep: Sweep, trial: TrialSpec, attempt: int, result: AttemptResult
) -> None:
    """Write the row of an ended attempt; an existing row is kept.

    Raises `MissingStagesError` if a finished trial lacks stages in the storage.
    """
    run, chain = trial.run, trial.chain
    stages = [_stage(store, sweep.name, trial, each.key) for each in chain[: result.stages_done]]
    if result.status == "finished" and None in stages:
        raise MissingStagesError(stages.count(None), len(chain))
    last = stages[-1] if stages else None
    row = {
        "trial_id": trial.trial_id,
        "config_id": trial.config_id,
        "order_id": trial.order_id,
        "task_order": list(run.stream.order),
        "class_order_seed": run.stream.class_order_seed,
        "split_seed": run.stream.split_seed,
        "seed": trial.seed,
        "partition_id": partition_id(run),
        "label": trial.label,
        "role": trial.role,
        "factors": canonical_json(trial.factors),
        "method": run.method.kind,
        "readout_ids": [readout.readout_id for readout in trial.readouts],
        "attempt": attempt,
        "status": result.status,
        "error": result.error,
        "error_kind": result.error_kind,
        "stages_done": result.stages_done,
        "stages_total": len(chain),
        "stage_keys": [stage.key for stage in chain],
        "run": canonical_json(run),
        "trainable_parameters": last["trainable_parameters"] if last is not None else None,
        "stored_bytes": sum(stage["state_bytes"] for stage in stages if stage is not None),
        "cpus": float(run.train.threads),
        "gpus": sweep.resources.gpus or 0.0,  # `auto` stays undecided if no stage is trained
        "code_version": code_version(),
    }
    part = trial_part_id(trial.trial_id, attempt)
    write_part(store.objects, sweep.name, "trials", part, [row])


def _stage(store: StageStore, sweep: str, trial: TrialSpec, key: str) -> Mapping[str, Any] | None:
    """Return the row of a stage; None if the stage is missing or damaged.

    The row is read from the bundle, which merging reads as well, or else from the stage itself.
    """
    bundle = bundle_of(sweep, trial, key)
    try:
        rows = parts_in(bundle, store.objects.get_immutable(bundle), ["stages"])["stages"]
        return dict(rows[0].table.to_pylist()[0])
    except (MissingObjectError, DamagedFileError, IndexError):
        store.objects.recent.drop(bundle)
    record = store.record(key)
    return None if record is None else stage_row(record)
