"""A sweep on a storage whose counts are made up, so that its answers are known; nothing trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clmethods.config import evaluation_id, partition_id
from sweeps.definition import Sweep, TrialSpec, expand, sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.results import merge_results, write_part
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import open_storage

IMAGES = 1000
"""Images per class, so that accuracies with three decimals are exact."""

Accuracy = Callable[[TrialSpec], float]


def fabricate(
    storage: Path,
    document: Mapping[str, Any],
    accuracy: Accuracy,
    runs: Callable[[TrialSpec], bool] = lambda trial: True,
) -> Sweep:
    """The sweep of `document` with finished trials where `runs` says so.

    Every task has the accuracy of its trial on both splits, after every stage. A stage that
    trials share has that of the first of them.
    """
    objects = open_storage(str(storage))
    sweep = sweep_from_dict(document)
    keep_sweep_file(sweep, objects)
    store = StageStore(objects)
    for trial in filter(runs, expand(sweep)):
        for position, stage in enumerate(trial.chain):
            for readout in trial.readouts:
                rows = _counts(trial, position, round(accuracy(trial) * IMAGES))
                partition = partition_id(trial.run)
                shared = {
                    "stage_key": stage.key,
                    "partition_id": partition,
                    "readout_id": readout.readout_id,
                }
                part = f"{stage.key}-{evaluation_id(readout, partition)}"
                write_part(objects, sweep.name, "evals", part, [shared | row for row in rows])
        record_trial(store, sweep, trial, 1, AttemptResult(status="finished", stages_done=0))
    merge_results(objects, sweep.name)  # as a driver does; readers open few files
    return sweep


def _counts(trial: TrialSpec, position: int, right: int) -> list[dict[str, Any]]:
    run = trial.run
    seen = set(run.stream.order[: position + 1]) if run.stages > 1 else set(run.stream.order)
    return [
        {
            "split": split,
            "task": group.index,
            "class_id": class_id,
            "seen": group.index in seen,
            "n": IMAGES,
            "correct": right if group.index in seen else None,
            "correct_task_given": IMAGES if group.index in seen else IMAGES // 2,
            "task_id_correct": None,
        }
        for split in ("validation", "test")
        for group in run.stream.groups()
        for class_id in group.classes
    ]
