"""Objectives read from a storage are those of the tables, cut at any task."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest

from sweeps.analysis.trials.summary import summarize
from sweeps.definition import Sweep, expand
from sweeps.results import latest_trials, read_table
from sweeps.search.observations import Observation, mean_objectives
from sweeps.search.search_state import Request
from sweeps.search.stored_observations import StoredObservations, failed_attempts
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import ObjectStore, open_storage
from sweeps.storage.key_layout import evaluation_name
from tests.sweeps.stages.small import run_trial, runner_of, small_sweep

OBJECTIVES = {
    "average_accuracy": "max",
    "forgetting": "min",
    "task_id_accuracy": "max",
    "trainable_parameters": "min",
}
READOUTS = [{"routing": "instance"}, {"routing": "last"}]


@pytest.fixture(scope="module")
def swept() -> tuple[Sweep, ObjectStore]:
    """A trial that has finished, with its row."""
    sweep = small_sweep(objectives=OBJECTIVES, readouts=READOUTS)
    store = StageStore(open_storage("memory://"))
    (trial,) = expand(sweep)
    run_trial(trial, store)
    record_trial(store, sweep, trial, 1, AttemptResult(status="finished", stages_done=3))
    return sweep, store.objects


def test_the_whole_chain_has_the_values_of_the_summary(swept: tuple[Sweep, ObjectStore]) -> None:
    sweep, objects = swept
    (trial,) = expand(sweep)
    found = StoredObservations(sweep, objects)(Request(trial, 3))
    trials = latest_trials(read_table(objects, "small", "trials").table)
    summary = summarize(trials, read_table(objects, "small", "evals").table, "validation")
    first = trial.readouts[0].readout_id
    (row,) = summary.filter(pc.equal(summary["readout_id"], first)).to_pylist()
    assert found is not None
    assert found.values[-1] == {name: row[name] for name in OBJECTIVES}


def test_a_chain_that_is_cut_has_the_values_of_a_shorter_stream(
    swept: tuple[Sweep, ObjectStore],
) -> None:
    """Two of three tasks: the accuracies after the second stage, as if there were no third."""
    sweep, objects = swept
    (trial,) = expand(sweep)
    whole = StoredObservations(sweep, objects)(Request(trial, 3))
    cut = StoredObservations(sweep, objects)(Request(trial, 2))
    assert whole is not None
    assert cut == whole.until(2)
    assert cut.values[0]["forgetting"] is None  # there is nothing to forget yet
    assert cut.values[1]["forgetting"] is not None


def test_what_is_not_there_or_cannot_be_read_is_missing() -> None:
    sweep = small_sweep()
    store = StageStore(open_storage("memory://"))
    (trial,) = expand(sweep)
    runner = runner_of(trial, store)
    runner.advance()
    look = StoredObservations(sweep, store.objects)
    assert look(Request(trial, 1)) is not None
    assert look(Request(trial, 2)) is None
    runner.advance()
    assert look(Request(trial, 2)) is not None
    identity = next(n for n in store.objects.list("stages") if "/evals/" in n).rsplit("/", 1)[1]
    name = evaluation_name(trial.chain[0].key, identity.removesuffix(".json"))
    for damaged in [n for n in store.objects.list("stages") if n.startswith(name[:80])]:
        if "/evals/" in damaged:
            store.objects.put(damaged, b"{}")
    assert StoredObservations(sweep, store.objects)(Request(trial, 2)) is None


def test_a_failure_counts_until_it_is_tried_again() -> None:
    sweep = small_sweep()
    store = StageStore(open_storage("memory://"))
    (trial,) = expand(sweep)
    runner_of(trial, store).advance()
    ending = AttemptResult(status="failed", stages_done=1, error="no", error_kind="Fault")
    record_trial(store, sweep, trial, 1, ending)
    found = StoredObservations(sweep, store.objects)(Request(trial, 3))
    assert found is not None
    assert (found.failed, len(found.values)) == (True, 1)
    assert mean_objectives([found], 3, ["average_accuracy"]) is None
    assert not (StoredObservations(sweep, store.objects)(Request(trial, 1)) or found).failed
    attempts = failed_attempts(sweep, store.objects)
    assert attempts == {trial.trial_id: 1}
    look = StoredObservations(sweep, store.objects, attempts)
    assert look(Request(trial, 3)) is None
    record_trial(store, sweep, trial, 2, ending)
    look.refresh()
    assert look(Request(trial, 3)) == found


def test_an_undefined_objective_has_no_mean() -> None:
    one = Observation(values=({"forgetting": None, "average_accuracy": 0.5},))
    assert mean_objectives([one, one], 1, ["average_accuracy"]) == (0.5,)
    assert mean_objectives([one], 1, ["forgetting"]) is None
    assert mean_objectives([], 1, ["average_accuracy"]) is None
