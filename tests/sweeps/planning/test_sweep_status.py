"""The status of sweeps: drivers that live, were killed or have ended, and what is left to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sweeps.definition import Sweep, TrialSpec, expand
from sweeps.planning import sweep_status
from sweeps.planning.driver_lock import keep_sweep_file, presence
from sweeps.planning.lease_readings import Sign
from sweeps.planning.plan import make_plan
from sweeps.planning.status_model import SweepState, SweepStatus
from sweeps.planning.sweep_status import read_statuses
from sweeps.results.event_kinds import (
    NodeJoined,
    Planned,
    RunEnded,
    RunStarted,
    StageDone,
    TrialEnded,
)
from sweeps.results.events import EventLog
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.requests import counted
from tests.sweeps.run_files import store_as_run
from tests.sweeps.stages.small import runner_of, small_sweep

TTL_S = 0.4
RUN = "0123456789ab"
SWEEP = {"search": {"method.importance_threshold": [0, 0.2]}, "seeds": [0, 1]}
"""Four trials; those of a seed share their first stage: 2 x (1 + 2 x 2) distinct ones."""


@dataclass(frozen=True)
class Storage:
    """A storage with the small sweep on it."""

    objects: ObjectStore
    sweep: Sweep
    trials: tuple[TrialSpec, ...]

    @property
    def store(self) -> StageStore:
        return StageStore(self.objects)

    def log(self, run: str = RUN) -> EventLog:
        log = EventLog(self.objects, self.sweep.name, run)
        log.add(RunStarted(document="d", code_version="c", user="ada", host="head", pid=7))
        return log

    def train(self, trial: TrialSpec, log: EventLog, stages: int = 3, node: str = "w1") -> None:
        """Compute stages as a worker on a node does; a finished trial gets its row."""
        runner = runner_of(trial, self.store, stages=stages)
        while runner.position < stages:
            report = runner.advance()
            if report.outcome == "trained":
                log.add(
                    StageDone(
                        trial=trial.trial_id,
                        key=report.key,
                        position=report.position - 1,
                        outcome="trained",
                        seconds=1.0,
                        node=node,
                    )
                )
        if stages == len(trial.chain):
            self.end(trial, log, AttemptResult(status="finished", stages_done=stages))

    def end(self, trial: TrialSpec, log: EventLog, ending: AttemptResult) -> None:
        record_trial(self.store, self.sweep, trial, 1, ending)
        log.add(
            TrialEnded(
                trial=trial.trial_id,
                name=trial.name,
                status=ending.status,
                stages=ending.stages_done,
                error=ending.error,
                error_kind=ending.error_kind,
                node=ending.node,
            )
        )

    def status(self) -> SweepStatus:
        (found,) = read_statuses(self.objects, [self.sweep.name])
        return found


@pytest.fixture
def storage() -> Storage:
    objects, sweep = open_storage("memory://"), small_sweep(**SWEEP)
    keep_sweep_file(sweep, objects)
    return Storage(objects, sweep, expand(sweep))


@contextmanager
def running(storage: Storage, *trials: TrialSpec, run: str = RUN) -> Iterator[None]:
    """A driver that is alive, with a worker on each of the trials' next stages."""
    table = LeaseTable(storage.objects, TTL_S)
    plan = make_plan(storage.sweep, storage.store)
    with ExitStack() as stack:
        stack.enter_context(presence(storage.sweep, storage.objects, TTL_S, run=run))
        for trial in trials:
            key = next(k for k in plan.tree.chains[trial.trial_id] if k not in plan.complete)
            lease = table.acquire(key, f"{run}.abc:{trial.trial_id}")
            assert lease is not None
            stack.enter_context(lease)
        yield


def node(name: str, slots: int) -> NodeJoined:
    return NodeJoined(node=name, address=name, node_id=name, cpus=slots, gpus=0, slots=slots)


def test_a_sweep_that_runs(storage: Storage) -> None:
    first, second, third, _ = storage.trials
    log = storage.log()
    log.add(node("w1", 2))
    log.add(node("w2", 1))
    storage.train(first, log)
    storage.train(second, log, stages=1, node="w2")
    log.flush(force=True)
    with running(storage, second, third):
        status = storage.status()
    counts = status.counts
    assert status.state is SweepState.RUNNING
    assert (counts.trials, counts.configurations, counts.exact) == (4, 2, True)
    states = (counts.finished, counts.running, counts.waiting, counts.failed, counts.stopped)
    assert states == (1, 2, 1, 0, 0)
    assert (counts.stages, counts.stored, counts.to_train) == (10, 4, 6)
    (driver,) = status.drivers
    assert (driver.sign, driver.user, driver.host, driver.pid) == (Sign.ALIVE, "ada", "head", 7)
    assert driver.running_s is not None
    assert [(n.node, n.slots, n.trained) for n in status.nodes] == [("w1", 2, 3), ("w2", 1, 1)]
    found = {stage.trial: (stage.position, stage.stages) for stage in status.running}
    assert found == {second.trial_id: (1, 3), third.trial_id: (1, 3)} or found == {
        second.trial_id: (0, 3),
        third.trial_id: (0, 3),
    }
    assert {stage.name for stage in status.running} == {second.name, third.name}
    assert status.speed.recent_stages == 4
    assert status.speed.recent_per_hour is not None
    assert status.left_s == pytest.approx(6 / status.speed.recent_per_hour * 3600)


def test_a_driver_that_was_killed_is_silent_and_its_leases_count_for_nothing(
    storage: Storage,
) -> None:
    log = storage.log()
    storage.train(storage.trials[0], log)
    log.flush(force=True)
    with running(storage, storage.trials[1]):
        frozen = {
            name: storage.objects.get(name)
            for folder in ("sweeps/small/running", "leases")
            for name in storage.objects.list(folder)
        }
    for name, beat in frozen.items():  # as they stay when nobody gives them back
        storage.objects.put(name, beat)
    status = storage.status()
    assert status.state is SweepState.SILENT
    (driver,) = status.drivers
    assert (driver.sign, driver.user) == (Sign.SILENT, "ada")
    assert (status.running, status.nodes, status.counts.running) == ((), (), 0)
    assert status.counts.waiting == 3
    assert status.left_s is not None


def test_workers_of_another_driver_are_distinguished(storage: Storage) -> None:
    """One driver lives; the leases of one that was killed are still there."""
    first, second, *_ = storage.trials
    storage.log().flush(force=True)
    stale = {"owner": f"dead.x:{first.trial_id}", "time_to_live_s": 20.0, "beat": 3}
    storage.objects.put(f"leases/{first.chain[0].key}/0", json.dumps(stale).encode())
    with running(storage, second):
        status = storage.status()
    assert [stage.trial for stage in status.running] == [second.trial_id]


def test_a_sweep_that_was_interrupted(storage: Storage) -> None:
    log = storage.log()
    storage.train(storage.trials[0], log)
    log.add(RunEnded(interrupted=True))
    log.flush(force=True)
    status = storage.status()
    assert (status.state, status.drivers) == (SweepState.STOPPED, ())
    assert status.history.runs[0].outcome == "interrupted"


def test_what_failed_where(storage: Storage) -> None:
    first, second, *others = storage.trials
    log = storage.log()
    failed = AttemptResult(
        status="failed", stages_done=0, error="the loss is nan", error_kind="E", node="w2"
    )
    storage.end(first, log, failed)
    log.flush(force=True)
    storage.end(second, storage.log("lost"), failed)  # its lines were never written
    for trial in others:
        storage.train(trial, log)
    status = storage.status()
    found = {trial.trial: (trial.cause, trial.error, trial.node) for trial in status.failed}
    assert found == {
        first.trial_id: ("E", "the loss is nan", "w2"),
        second.trial_id: ("", "the loss is nan", ""),
    }
    assert status.counts.failed == 2
    assert status.counts.to_train == 0  # what failed trials need is not trained
    assert status.state is SweepState.FINISHED


def test_a_failed_trial_that_is_tried_again_is_running(storage: Storage) -> None:
    first = storage.trials[0]
    log = storage.log()
    storage.end(first, log, AttemptResult(status="failed", stages_done=0, error="e"))
    log.flush(force=True)
    with running(storage, first):
        status = storage.status()
    assert (status.counts.running, status.counts.failed, status.failed) == (1, 0, ())


def test_nothing_was_trained_lately(storage: Storage) -> None:
    storage.log().flush(force=True)
    status = storage.status()
    assert (status.left_s, status.speed.recent_stages) == (None, 0)


def test_a_sweep_that_cannot_be_resolved_here_is_counted_from_its_log(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a laptop that does not have the weights of the backbone."""
    first, second, third, _ = storage.trials
    log = storage.log()
    log.add(Planned(step=1, title="all", trials=4, todo=4, stages=10, stored=0))
    log.add(node("w1", 2))
    storage.train(first, log)
    error = AttemptResult(status="failed", stages_done=0, error="e", error_kind="E", node="w1")
    storage.end(third, log, error)
    log.flush(force=True)
    exact = storage.status().counts
    refused = "backbone.weights: got '/gone', allowed: a file"
    monkeypatch.setattr(sweep_status, "_plan", lambda *arguments: (None, refused, ()))
    with running(storage, second):
        status = storage.status()
    counts = status.counts
    assert (counts.exact, status.unresolved) == (False, refused)
    assert (counts.trials, counts.finished, counts.failed) == (4, 1, 1)
    assert (counts.running, counts.waiting) == (1, 1)
    assert (counts.stages, counts.stored) == (exact.stages, exact.stored)
    assert counts.to_train == 7
    assert [stage.trial for stage in status.running] == [second.trial_id]
    assert [(trial.name, trial.node) for trial in status.failed] == [(third.name, "w1")]


def test_weights_that_are_not_here_make_a_sweep_unresolved(storage: Storage) -> None:
    """A plan without them would count every stage as missing."""
    weights = "/gone/w.safetensors"
    backbone = {"name": "vit_base_patch16_224", "weights": weights, "image_size": 224}
    document: dict[str, Any] = {**storage.sweep.document, "backbone": backbone, "search": {}}
    store_as_run(storage.objects, "small", document)
    status = storage.status()
    assert status.plan is None
    assert weights in status.unresolved


@pytest.mark.parametrize("text", [b"{", b"[]", b"name: 7", None])
def test_a_damaged_sweep_file_is_said(storage: Storage, text: bytes | None) -> None:
    if text is None:
        storage.objects.delete("sweeps/small/sweep.yaml")
    else:
        storage.objects.put("sweeps/small/sweep.yaml", text)
    status = storage.status()
    assert (status.plan, status.counts.exact) == (None, False)
    assert status.state is SweepState.STOPPED  # nothing is known of what it asks for
    assert status.unresolved


def test_few_requests_and_no_write(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four listings for one sweep, the sweep file, each event object and row once."""
    for number, trial in enumerate(storage.trials):
        log = storage.log(f"{number:012x}")
        storage.train(trial, log)
        log.flush(force=True)
    requests = counted(monkeypatch)
    status = storage.status()
    assert status.state is SweepState.FINISHED
    assert requests.writes == 0
    assert requests.counts["list"] == 4  # running, stages, events, trials
    assert requests.counts["get"] == 1 + 4 + 4  # sweep file, event objects, rows
    assert requests.total == 14  # and whether the sweep file is a version that was run
    assert len(set(requests.read)) == len(requests.read)


def test_few_requests_while_drivers_run(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing of leases, a request for each stage, and two or more for each driver."""
    storage.log().flush(force=True)
    beat = {"owner": RUN, "time_to_live_s": 20.0, "beat": 3}
    storage.objects.put("sweeps/small/running/hash.id/0", json.dumps(beat).encode())
    for trial in storage.trials[:2]:
        fields = beat | {"owner": f"{RUN}.x:{trial.trial_id}"}
        storage.objects.put(f"leases/{trial.chain[0].key}/0", json.dumps(fields).encode())
    storage.objects.put("leases/of-another-sweep/0", b"{}")
    ticks = iter([0.0, *[60.0] * 9])  # the driver is silent at the second look
    requests = counted(monkeypatch)
    read_statuses(storage.objects, ["small"], clock=lambda: next(ticks))
    assert requests.writes == 0
    assert requests.counts["list"] == 5
    assert requests.counts["get"] == 1 + 1 + 2 + 2  # sweep file, events, stages, driver twice


def test_sweeps_of_a_storage_share_the_listing_of_stages(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small_sweep(**SWEEP, name="other")
    keep_sweep_file(other, storage.objects)
    storage.train(storage.trials[0], storage.log())
    requests = counted(monkeypatch)
    first, second = read_statuses(storage.objects, ["small", "other"])
    assert requests.counts["list"] == 1 + 2 * 3
    assert (first.counts.stored, second.counts.stored) == (3, 3)
    assert (first.counts.finished, second.counts.finished) == (1, 0)
