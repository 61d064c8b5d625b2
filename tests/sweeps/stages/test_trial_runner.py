"""TrialRunner: the bits of a run without a store, wherever it is cut, whoever shares with it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, tzinfo
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clmethods.training.completion
from clmethods.checksummed_json import sha256
from clmethods.config import METHOD_CONFIGS, ReadoutConfig, evaluation_id, partition_id
from clmethods.methods import METHODS
from clmethods.readout.features import FeatureCache
from clmethods.training.sequence import run_sequence
from clmethods.training.stage import DivergedError, StageOutcome, run_stage
from sweeps.definition import Sweep, TrialSpec, expand
from sweeps.planning.stage_tree import StageTree
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore, folder
from sweeps.stages.trial_runner import UnreadableStageError
from sweeps.storage import open_storage
from tests.clmethods.runs import MemoryArchive
from tests.sweeps.stages.small import (
    directory_store,
    evaluations,
    messages_of,
    metrics,
    run_trial,
    runner_of,
    small_sweep,
    small_trial,
    trained_keys,
)

SMALL = {"rank": 2, "importance_threshold": 0.2}
"""For the methods that have such fields."""


def memory() -> StageStore:
    return StageStore(open_storage("memory://"))


def keys_of(trial: TrialSpec) -> list[str]:
    return [stage.key for stage in trial.chain]


@pytest.fixture(scope="module")
def unbroken() -> tuple[set[str], dict[str, bytes]]:
    """Metrics and stored files of the small trial without any interruption."""
    store = memory()
    run_trial(small_trial(), store)
    return metrics(store.objects)


def test_a_clock_that_jumps_changes_no_bit(
    unbroken: tuple[set[str], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock of the machine shows another century, forward and backward."""
    years = cycle((1999, 2199, 2026))

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Jumping:
            return cls(next(years), 1, 1, tzinfo=tz)

    for module in ("sweeps.stages.leases", "clmethods.provenance"):
        monkeypatch.setattr(f"{module}.datetime", Jumping)
    monkeypatch.setattr("time.time", lambda: Jumping.now(UTC).timestamp())
    store = memory()
    reports = run_trial(small_trial(), store)
    assert len(trained_keys(reports)) == len(reports)
    assert metrics(store.objects) == unbroken


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_the_states_and_counts_of_a_run_without_a_store(kind: str) -> None:
    known = {field.name for field in fields(METHOD_CONFIGS[kind])}
    method = {"kind": kind, **{name: SMALL[name] for name in known & set(SMALL)}}
    readouts = [{"routing": routing} for routing in METHOD_CONFIGS[kind].ROUTINGS]
    trial = small_trial(method=method, readouts=readouts)
    archive, store = MemoryArchive(), memory()
    steps = run_sequence(trial.run, trial.readouts, archive)
    reports = run_trial(trial, store)
    assert trained_keys(reports) == keys_of(trial)
    for step in steps:
        where = folder(step.stage.key)
        state = sha256(archive.stages[step.stage.key])
        assert store.objects.exists(f"{where}/state-{state}.safetensors")
        for readout in trial.readouts:
            identity = evaluation_id(readout, partition_id(trial.run))
            counts = [asdict(count) for count in step.counts[readout.readout_id]]
            assert store.evaluation(step.stage.key, identity) == counts


def test_a_runner_dropped_after_every_stage(unbroken: object) -> None:
    trial, store = small_trial(), memory()
    for position in range(3):
        report = runner_of(trial, store).advance()
        assert (report.outcome, report.position) == ("trained", position + 1)
    assert runner_of(trial, store).advance().outcome == "done"
    assert metrics(store.objects) == unbroken


ONE_STAGE = textwrap.dedent(
    """
    import os, sys
    import torch
    from sweeps.definition import TrialSpec
    from sweeps.stages.leases import LeaseTable
    from sweeps.stages.trial_runner import TrialRunner
    from sweeps.stages.stage_store import StageStore
    from sweeps.storage import open_storage

    torch.manual_seed(7)
    objects = open_storage(sys.argv[1])
    trial = TrialSpec.from_json(sys.argv[2])
    runner = TrialRunner("small", trial, StageStore(objects), LeaseTable(objects), "process")
    print(runner.advance().outcome, flush=True)
    os._exit(0)
    """
)


def test_a_stage_in_a_process_of_its_own(tmp_path: Path, unbroken: object) -> None:
    """The second of three stages starts from stored files, and another process continues."""
    trial, store = small_trial(), directory_store(tmp_path)
    runner_of(trial, store).advance()
    done = subprocess.run(
        [sys.executable, "-c", ONE_STAGE, store.objects.location, trial.to_json()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "trained\n"
    assert trained_keys(run_trial(trial, store)) == [keys_of(trial)[2]]
    assert metrics(store.objects) == unbroken


def test_the_state_of_the_process_does_not_matter(unbroken: object) -> None:
    """An earlier trial may leave such state in a reused worker."""
    trial, store = small_trial(), memory()
    torch.manual_seed(12345)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    run_trial(trial, store)
    assert metrics(store.objects) == unbroken


def test_a_leased_stage_is_waited_for_without_computing() -> None:
    trial, store = small_trial(), memory()
    first, second, _ = keys_of(trial)
    runner, leases = runner_of(trial, store), LeaseTable(store.objects)
    lease = leases.acquire(first, "somebody")
    assert lease is not None
    report = runner.advance()
    assert (report.outcome, report.position, report.key) == ("waiting", 0, first)
    assert not store.has(first)
    with lease:
        pass
    assert runner.advance().outcome == "trained"
    assert leases.acquire(second, "somebody") is not None
    report = runner.advance()
    assert (report.outcome, report.position, report.key) == ("waiting", 1, second)


def test_a_stage_that_somebody_stored_meanwhile_is_passed_over(unbroken: object) -> None:
    trial, store = small_trial(), memory()
    waiting = runner_of(trial, store, owner="other")
    lease = LeaseTable(store.objects).acquire(keys_of(trial)[0], "somebody")
    assert lease is not None
    with lease:
        assert waiting.advance().outcome == "waiting"
    run_trial(trial, store)
    assert waiting.advance().outcome == "done"
    assert metrics(store.objects) == unbroken


def test_leases_are_given_back(unbroken: object) -> None:
    store = memory()
    run_trial(small_trial(), store)
    assert list(store.objects.list("leases")) == []


def test_who_lost_the_lease_does_not_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood still for too long in the middle of a stage, and another one took over."""
    trial, store = small_trial(), memory()
    (key, *_), leases = keys_of(trial), LeaseTable(store.objects)

    def overtaken(*arguments: Any) -> StageOutcome:
        outcome = run_stage(*arguments)
        leases.expire(key, 0)
        assert leases.acquire(key, "successor") is not None
        return outcome

    monkeypatch.setattr(clmethods.training.completion, "run_stage", overtaken)
    report = runner_of(trial, store).advance()
    assert (report.outcome, report.position, report.key) == ("waiting", 0, key)
    assert list(store.objects.list("stages")) == []
    assert leases.newest(key) == (1, False)


def test_a_duplicate_continues_from_what_was_stored_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kind of machine was first: its bits differ, and they are the stage."""
    trial, store = small_trial(), memory()
    key = keys_of(trial)[0]

    def beaten(run: Any, stage: Any, state: Any, on_epoch: Any) -> StageOutcome:
        outcome = run_stage(run, stage, state, on_epoch)
        if stage.key == key:
            other = {
                name: tensor + 1 if tensor.is_floating_point() else tensor
                for name, tensor in outcome.delta.items()
            }
            store.save(stage, replace(outcome, delta=other), {})
        return outcome

    monkeypatch.setattr(clmethods.training.completion, "run_stage", beaten)
    runner = runner_of(trial, store)
    runner.advance()
    runner.advance()
    monkeypatch.undo()
    resumed = memory()
    for name in store.objects.list(folder(key)):  # the first stage alone, then from there on
        if "/evals/" not in name:
            resumed.objects.put(name, store.objects.get(name))
    fresh = runner_of(trial, resumed)
    assert fresh.advance().outcome == "evaluated"
    fresh.advance()
    assert evaluations(resumed.objects) == evaluations(store.objects)


def test_a_fault_of_the_run_gives_the_lease_back_and_stores_nothing() -> None:
    trial, store = small_trial(train={"epochs": 1, "batch_size": 8, "lr": 1e30}), memory()
    with pytest.raises(DivergedError, match="no longer finite"):
        run_trial(trial, store)
    assert list(store.objects.list("leases")) == []
    assert list(store.objects.list("stages")) == []


def test_a_storage_that_loses_what_was_written_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StageStore, "save", lambda *arguments: None)
    with pytest.raises(UnreadableStageError, match="lost stage"):
        run_trial(small_trial(), memory())


def test_a_stage_that_was_stored_but_not_evaluated(unbroken: object) -> None:
    """Killed between the two: the stage is not trained again."""
    trial, store = small_trial(), memory()
    run_trial(trial, store)
    for name in evaluations(store.objects):
        store.objects.delete(name)
    reports = run_trial(trial, store)
    assert [report.outcome for report in reports] == ["evaluated"] * 3
    assert metrics(store.objects) == unbroken


@pytest.mark.parametrize("depth", [0, 1])
def test_an_ancestor_that_is_damaged_on_the_way_is_computed_again(
    tmp_path: Path, unbroken: object, depth: int
) -> None:
    """Also when it was evaluated already: the runner that finds out starts lower."""
    trial, store = small_trial(), directory_store(tmp_path)
    runner = runner_of(trial, store)
    runner.advance()
    runner.advance()
    (state,) = (tmp_path / folder(keys_of(trial)[depth])).glob("state-*")
    state.write_bytes(state.read_bytes()[:100])
    fresh = runner_of(trial, store)
    report = fresh.advance()
    assert (report.outcome, report.key) == ("trained", keys_of(trial)[depth])
    while fresh.advance().outcome != "done":
        pass
    assert metrics(store.objects) == unbroken
    assert len(messages_of(store)) == 1


def test_new_readouts_of_a_finished_chain_train_nothing() -> None:
    one, store = small_trial(readouts=[{"routing": "last"}]), memory()
    run_trial(one, store)
    states, before = metrics(store.objects)
    more = replace(one, readouts=(*one.readouts, ReadoutConfig(routing="oracle")))
    reports = run_trial(more, store)
    assert [report.outcome for report in reports] == ["evaluated"] * 3
    assert metrics(store.objects)[0] == states
    after = evaluations(store.objects)
    assert len(after) == 2 * len(before)
    assert {name: after[name] for name in before} == before


ADAPTED = [
    {"tap": True, "tap_epochs": 1},
    {"tap": True, "tap_epochs": 1, "tap_restore": False, "tap_storage": "covariance"},
]
LORA = {"kind": "lora_sequential", "rank": 2}


@pytest.mark.parametrize("method", [LORA, SMALL | {"kind": "lorac_ipc"}], ids=lambda m: m["kind"])
def test_readouts_that_look_back_do_not_depend_on_who_walked_the_chain(
    method: dict[str, Any],
) -> None:
    """Task-adaptive prediction reads statistics of earlier tasks; heads start from heads."""
    trial = small_trial(method=method, readouts=ADAPTED)
    walked, dropped, late = memory(), memory(), memory()
    run_trial(trial, walked)
    for _ in trial.chain:
        runner_of(trial, dropped).advance()
    run_trial(replace(trial, readouts=(ReadoutConfig(),)), late)
    kept = evaluations(late.objects)
    runner = runner_of(trial, late)
    runner.advance()
    runner_of(trial, late).advance()
    run_trial(trial, late)
    assert evaluations(dropped.objects) == evaluations(walked.objects)
    assert evaluations(late.objects) == evaluations(walked.objects) | kept


def test_an_ancestor_found_damaged_by_a_readout_is_computed_again(tmp_path: Path) -> None:
    """Its statistics are read from its state, which nothing else needed any more."""
    trial = small_trial(method=LORA, readouts=ADAPTED)
    store, whole = directory_store(tmp_path), memory()
    run_trial(trial, whole)
    runner = runner_of(trial, store)
    runner.advance()
    fresh = runner_of(trial, store)
    fresh.advance()
    fresh._completion = None  # as if another trial had evaluated the stages so far
    (state,) = (tmp_path / folder(keys_of(trial)[0])).glob("state-*")
    state.write_bytes(state.read_bytes()[:100])
    report = fresh.advance()
    assert (report.outcome, report.key) == ("trained", keys_of(trial)[0])
    while fresh.advance().outcome != "done":
        pass
    assert metrics(store.objects) == metrics(whole.objects)
    assert len(messages_of(store)) == 1


@st.composite
def small_sweeps(draw: st.DrawFn) -> Sweep:
    """At most four trials that share more or less of their chains."""
    tasks = draw(st.sampled_from([2, 3]))
    axes: dict[str, list[Any]] = {
        "method.importance_threshold": [0, 0.5],
        "method.module_weights": ["ones", "learned"],
        "method.ortho_lambda": [0, 1],
        "train.lr": [0.001, 0.01],
        "stream.class_order_seed": [None, 1],
    }
    axis = draw(st.sampled_from(sorted(axes)))
    orders = st.permutations(range(tasks)).map(list)
    chosen = draw(st.lists(orders, min_size=1, max_size=2, unique_by=tuple))
    return small_sweep(
        stream={"dataset": "digits", "tasks": tasks, "limit": 3},
        search={axis: axes[axis]},
        orders={"design": "explicit", "list": chosen},
        seeds=[draw(st.integers(0, 9))],
    )


@given(sweep=small_sweeps())
@settings(max_examples=4, deadline=None)
def test_sharing_computes_every_stage_once_and_changes_no_bit(sweep: Sweep) -> None:
    trials, shared, features = expand(sweep), memory(), FeatureCache()
    trained = [key for trial in trials for key in trained_keys(run_trial(trial, shared, features))]
    tree = StageTree.of(trials)
    assert len(trained) == tree.distinct
    assert set(trained) == set(tree.nodes)
    alone: tuple[set[str], dict[str, bytes]] = (set(), {})
    for trial in trials:
        own = memory()
        assert len(trained_keys(run_trial(trial, own))) == len(trial.chain)
        states, counts = metrics(own.objects)
        alone = (alone[0] | states, alone[1] | counts)
    assert metrics(shared.objects) == alone
