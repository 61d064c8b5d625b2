"""Stored sweep files and finished sweeps that a test makes itself, without Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clmethods.canonical import short_id
from sweeps.definition import Sweep, expand
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.stages.trial_runner import TrialRunner
from sweeps.storage import ObjectStore

TINY_SWEEP: dict[str, Any] = {
    "name": "tiny",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 2, "limit": 6},
    "method": {"kind": "lorac_ipc", "rank": 2, "lora_alpha": 2},
    "train": {"epochs": 1, "batch_size": 16},
    "search": {"method.importance_threshold": [0]},
    "orders": {"design": "explicit", "list": [[0, 1]]},
    "resources": {"gpu": 0},
}
"""One trial of two stages."""


def store_as_run(objects: ObjectStore, name: str, document: Mapping[str, Any]) -> None:
    """Store a document as a run of it does, without checking that it is valid."""
    data = json.dumps(document).encode()
    objects.put(f"sweeps/{name}/versions/{short_id(document)}.yaml", data)
    objects.put(f"sweeps/{name}/sweep.yaml", data)


def finish(sweep: Sweep, objects: ObjectStore) -> None:
    """Store the file of a sweep, train all of its trials, and record them as finished."""
    keep_sweep_file(sweep, objects)
    store = StageStore(objects)
    for trial in expand(sweep):
        runner = TrialRunner(sweep.name, trial, store, LeaseTable(objects), "test")
        while runner.advance().outcome != "done":
            pass
        result = AttemptResult(status="finished", stages_done=len(trial.chain))
        record_trial(store, sweep, trial, 1, result)
