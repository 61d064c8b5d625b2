"""Metrics reported while a trial runs equal those of its result tables."""

from __future__ import annotations

import pytest

from sweeps.analysis.trials.summary import summarize
from sweeps.results import read_table
from sweeps.stages.live_metrics import metrics_so_far
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import open_storage
from tests.sweeps.stages.small import run_trial, small_sweep, small_trial


@pytest.mark.parametrize("kind", ["lorac_ipc", "joint_lora"])
def test_at_the_end_they_are_those_of_the_summary(kind: str) -> None:
    fields = {"method": {"kind": kind, "rank": 2}, "readouts": [{"routing": "last"}]}
    trial, store = small_trial(**fields), StageStore(open_storage("memory://"))
    run_trial(trial, store)
    stages = len(trial.chain)
    record_trial(
        store,
        small_sweep(**fields),
        trial,
        1,
        AttemptResult(status="finished", stages_done=stages),
    )
    live = metrics_so_far(store, trial, trial.chain, ["learning_accuracy", "trainable_parameters"])
    trials, evals = (
        read_table(store.objects, "small", name).table for name in ("trials", "evals")
    )
    (row,) = summarize(trials, evals, "validation").to_pylist()
    names = ["average_accuracy", "forgetting", "learning_accuracy", "trainable_parameters"]
    assert {name: live.get(name) for name in names} == {name: row[name] for name in names}
    assert live["cross_entropy"] > 0
    assert ("forgetting" in live) == (kind != "joint_lora")


def test_on_the_way_they_are_over_the_tasks_learned_so_far() -> None:
    trial, store = small_trial(), StageStore(open_storage("memory://"))
    run_trial(trial, store)
    first = metrics_so_far(store, trial, trial.chain[:1])
    assert {"average_accuracy", "cross_entropy"} <= first.keys()
    assert "forgetting" not in first
    assert "forgetting" in metrics_so_far(store, trial, trial.chain[:2])
    assert metrics_so_far(store, trial, trial.chain[:0]) == {}
    for name in [n for n in store.objects.list("stages") if "/evals/" in n]:
        store.objects.delete(name)
    assert "average_accuracy" not in metrics_so_far(store, trial, trial.chain[:2])
