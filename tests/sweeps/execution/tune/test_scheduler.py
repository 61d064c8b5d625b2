"""Order of trials: the scheduler with a controller that behaves like that of Tune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from sweeps.execution.tune import scheduler as module
from sweeps.execution.tune.scheduler import StageScheduler
from sweeps.execution.worker.trial_message import owner_of
from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import LeaseTable
from sweeps.storage import ObjectStore, open_storage


class FakeTrial:
    """As much of a Tune trial as a scheduler sees."""

    def __init__(self, name: str) -> None:
        self.trial_id = f"tune-{name}"
        self.config = {"trial_id": name}
        self.status = Trial.PENDING
        self.has_folder = False

    def set_status(self, status: str) -> None:
        self.status = status

    def init_local_path(self) -> None:
        self.has_folder = True


class FakeTune:
    """As much of Tune's controller as a scheduler sees."""

    def __init__(self, scheduler: StageScheduler, trials: list[FakeTrial]) -> None:
        self.scheduler, self.trials = scheduler, trials
        self._resetting_trials: set[FakeTrial] = set()
        for trial in trials:
            scheduler.on_trial_add(self, trial)

    def get_trials(self) -> list[FakeTrial]:
        return self.trials

    def pause_trial(self, trial: FakeTrial, should_checkpoint: bool) -> None:
        trial.status = Trial.PAUSED

    def stop_trial(self, trial: FakeTrial) -> None:
        self.scheduler.on_trial_remove(self, trial)
        trial.status = Trial.TERMINATED

    def _set_trial_status(self, trial: FakeTrial, status: str) -> None:
        trial.status = status

    def choose(self) -> str | None:
        """Ask for a trial; it is staged, as Tune does, and its name is the answer."""
        trial = self.scheduler.choose_trial_to_run(self)
        if trial is None or trial.status == Trial.PENDING:
            return None  # nothing new
        trial.status = Trial.PENDING
        return str(trial.config["trial_id"])

    def run(self) -> list[str]:
        """Release all that can be released, and give each a worker."""
        chosen: list[str] = []
        while (name := self.choose()) is not None:
            chosen.append(name)
        for trial in self.trials:
            if trial.status == Trial.PENDING:
                trial.status = Trial.RUNNING
        return chosen

    def trial(self, name: str) -> FakeTrial:
        (found,) = (t for t in self.trials if t.config["trial_id"] == name)
        return found

    def result(self, name: str, outcome: str, position: int, key: str = "") -> str:
        """Return the decision of the scheduler on the report of a step."""
        report = {"outcome": outcome, "position": position, "key": key}
        return self.scheduler.on_trial_result(self, self.trial(name), report)

    def end(self, name: str, position: int) -> None:
        """The trial has come to its end."""
        report = {"outcome": "trained", "position": position}
        self.scheduler.on_trial_complete(self, self.trial(name), report)
        self.trial(name).status = Trial.TERMINATED


@pytest.fixture
def objects() -> ObjectStore:
    return open_storage("memory://")


@pytest.fixture
def clock() -> list[float]:
    """The time, to be set."""
    return [0.0]


def tune_of(
    objects: ObjectStore,
    chains: dict[str, str],
    clock: list[float],
    slots: int = 2,
    complete: set[tuple[str, str]] | None = None,
    **options: Any,
) -> FakeTune:
    """Chains are spelt with one letter per stage: {"a": "XYZ"}."""
    watch = LeaseWatch(LeaseTable(objects, time_to_live_s=20.0), lambda: clock[0])
    scheduler = StageScheduler(
        chains,
        lambda trial, key: (trial, key) in (complete or set()),
        watch,
        "driver",
        lambda: slots,
        clock=lambda: clock[0],
        **options,
    )
    return FakeTune(scheduler, [FakeTrial(name) for name in chains])


def test_the_longest_remaining_chain_goes_first(objects: ObjectStore, clock: list[float]) -> None:
    tune = tune_of(objects, {"a": "A", "b": "BCD", "c": "EF"}, clock)
    assert tune.run() == ["b", "c"]
    tune.end("c", 2)
    assert tune.run() == ["a"]


def test_what_is_left_counts_and_not_the_whole_chain(
    objects: ObjectStore, clock: list[float]
) -> None:
    tune = tune_of(objects, {"a": "ABC", "b": "DE"}, clock, slots=1, known={"A", "B"})
    assert tune.run() == ["b"]


def test_never_two_on_the_same_stage(objects: ObjectStore, clock: list[float]) -> None:
    """Six trials of three prefixes on two slots: nobody is released to wait."""
    chains = {"a": "XA", "b": "XB", "c": "YC", "d": "YD", "e": "ZE", "f": "ZF"}
    tune = tune_of(objects, chains, clock, slots=4)
    assert tune.run() == ["a", "c", "e"]
    assert tune.result("a", "trained", 1) == TrialScheduler.CONTINUE
    assert tune.run() == ["b"]
    tune.end("a", 2)
    assert tune.run() == []
    tune.result("c", "trained", 1)
    assert tune.run() == ["d"]


def test_no_more_than_there_are_slots(objects: ObjectStore, clock: list[float]) -> None:
    tune = tune_of(objects, {"a": "A", "b": "B", "c": "C"}, clock, slots=1)
    assert tune.run() == ["a"]
    assert tune.run() == []
    tune.end("a", 1)
    assert tune.run() == ["b"]


def test_a_released_trial_is_offered_until_it_runs(
    objects: ObjectStore, clock: list[float]
) -> None:
    """Tune gives it a worker that has become free only if it is asked to."""
    tune = tune_of(objects, {"a": "A", "b": "B"}, clock, slots=1)
    assert tune.choose() == "a"
    offered = tune.scheduler.choose_trial_to_run(tune)
    assert offered is tune.trial("a")


def test_a_trial_that_waits_is_parked_and_woken(objects: ObjectStore, clock: list[float]) -> None:
    """Another driver has the stage; its resources go to a trial that can use them."""
    tune = tune_of(objects, {"a": "XA", "b": "XB", "c": "C"}, clock, slots=1)
    lease = LeaseTable(objects).acquire("X", "other")
    assert lease is not None
    assert tune.run() == ["a"]
    assert tune.result("a", "waiting", 0, "X") == TrialScheduler.NOOP
    assert tune.trial("a").status == Trial.PAUSED
    assert tune.run() == ["c"]  # not b, which needs the same stage
    tune.end("c", 1)
    assert tune.run() == []
    with lease:
        pass
    clock[0] += module.POLL_S
    assert tune.run() == ["a"]


def test_a_stage_is_asked_for_now_and_then(
    objects: ObjectStore, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    tune = tune_of(objects, {"a": "X"}, clock)
    assert LeaseTable(objects).acquire("X", "other") is not None
    tune.run()
    tune.result("a", "waiting", 0, "X")
    asked: list[str] = []
    monkeypatch.setattr(LeaseWatch, "is_free", lambda self, key: bool(asked.append(key)))
    for _ in range(50):
        assert tune.run() == []
    clock[0] += module.POLL_S
    assert tune.run() == []
    assert asked == ["X", "X"]


def test_a_dead_owner_elsewhere_is_outlived(objects: ObjectStore, clock: list[float]) -> None:
    """Watched from the moment it was met, also while all slots are taken."""
    tune = tune_of(objects, {"a": "XA", "b": "BC"}, clock, slots=1)
    assert LeaseTable(objects).acquire("X", "dead") is not None
    assert tune.run() == ["a"]
    tune.result("a", "waiting", 0, "X")
    assert tune.run() == ["b"]
    clock[0] += 20.0
    assert tune.run() == []
    tune.end("b", 2)
    assert tune.run() == ["a"]
    assert LeaseTable(objects).newest("X") == (0, True)


def test_an_owner_that_died_after_it_stored_the_stage_is_outlived_too(
    objects: ObjectStore, clock: list[float]
) -> None:
    """Stored but not evaluated: the trial must not be woken again and again meanwhile."""
    tune = tune_of(objects, {"a": "X"}, clock)
    assert LeaseTable(objects).acquire("X", "dead") is not None
    objects.put("stages/X/X/stage.json", b"")
    tune.run()
    tune.result("a", "waiting", 0, "X")
    for _ in range(19):
        clock[0] += 1.0
        assert tune.run() == []
    clock[0] += 1.0
    assert tune.run() == ["a"]


def test_a_complete_stage_is_not_waited_for(objects: ObjectStore, clock: list[float]) -> None:
    """Its owner died when all was done but giving back the lease."""
    complete: set[tuple[str, str]] = set()
    tune = tune_of(objects, {"a": "XA"}, clock, complete=complete)
    assert LeaseTable(objects).acquire("X", "dead") is not None
    tune.run()
    tune.result("a", "waiting", 0, "X")
    assert tune.run() == []
    complete.add(("a", "X"))
    clock[0] += module.POLL_S
    assert tune.run() == ["a"]


def test_a_stage_that_can_never_be_leased_is_reported_once(
    tmp_path: Path, clock: list[float]
) -> None:
    """A folder stands where its lease should be: nobody holds it, and nobody can take it."""
    folder = tmp_path / "leases" / "X" / "0"
    (folder / "x").mkdir(parents=True)
    tune = tune_of(open_storage(str(tmp_path)), {"a": "X"}, clock)
    messages: list[str] = []
    for _ in range(3 * module.REFUSALS):
        assert tune.run() == ["a"]
        tune.result("a", "waiting", 0, "X")
        messages += tune.scheduler.take_messages()
        if messages:
            assert tune.run() == []  # not tried without a pause
        clock[0] += module.BLOCKED_POLL_S
    (message,) = messages
    assert f"{folder} is a folder, not a lease: remove it" in message


def test_a_stage_that_others_take_first_is_not_reported(
    objects: ObjectStore, clock: list[float]
) -> None:
    tune = tune_of(objects, {"a": "X"}, clock)
    for _ in range(3 * module.REFUSALS):
        assert tune.run() == ["a"]
        lease = LeaseTable(objects).acquire("X", "other")
        assert lease is not None
        tune.result("a", "waiting", 0, "X")
        with lease:
            pass
        clock[0] += module.POLL_S
    assert tune.scheduler.take_messages() == []


def test_a_stage_that_was_lost_is_waited_for_again(
    objects: ObjectStore, clock: list[float]
) -> None:
    """Damaged after a trial passed it: two trials need it, one computes it, one is parked."""
    tune = tune_of(objects, {"a": "XA", "b": "XB"}, clock, known={"X"})
    assert tune.run() == ["a", "b"]
    lease = LeaseTable(objects).acquire("X", owner_of("driver", "a"))
    assert lease is not None
    tune.result("b", "waiting", 0, "X")
    for _ in range(5):
        clock[0] += module.POLL_S
        assert tune.run() == []
    with lease:
        pass
    tune.result("a", "trained", 1)
    clock[0] += module.POLL_S
    assert tune.run() == ["b"]


def test_the_lease_of_a_dead_worker_need_not_run_out(
    objects: ObjectStore, clock: list[float]
) -> None:
    tune = tune_of(objects, {"a": "XA"}, clock)
    tune.run()
    assert LeaseTable(objects).acquire("X", owner_of("driver", "a")) is not None
    tune._resetting_trials.add(tune.trial("a"))
    tune.scheduler.on_trial_error(tune, tune.trial("a"))
    assert LeaseTable(objects).newest("X") == (0, True)
    assert tune._resetting_trials == set()  # or Tune would wait for the dead worker for ever
    tune.trial("a").status = Trial.PENDING  # and asks for the trial to be queued again
    tune.scheduler.on_trial_add(tune, tune.trial("a"))
    assert tune.trial("a").status == Trial.PAUSED
    assert tune.run() == ["a"]


def test_draining_lets_running_stages_finish_and_starts_none(
    objects: ObjectStore, clock: list[float]
) -> None:
    tune = tune_of(objects, {"a": "AB", "b": "CD", "c": "EF"}, clock, slots=3)
    tune.choose()
    tune.trial("a").status = Trial.RUNNING
    tune.choose()
    tune.scheduler.draining = True
    assert tune.scheduler.choose_trial_to_run(tune) is None
    statuses = [trial.status for trial in tune.trials]
    assert statuses == [Trial.RUNNING, Trial.TERMINATED, Trial.PAUSED]
    assert all(trial.has_folder for trial in tune.trials)  # Tune asks for it at the end
    assert not tune.scheduler.idle
    assert tune.result("a", "trained", 1) == TrialScheduler.STOP
    tune.end("a", 1)
    assert tune.scheduler.idle


def test_a_waiting_trial_does_not_keep_a_draining_sweep(
    objects: ObjectStore, clock: list[float]
) -> None:
    tune = tune_of(objects, {"a": "X"}, clock)
    tune.run()
    tune.scheduler.draining = True
    tune.result("a", "waiting", 0, "X")
    assert tune.scheduler.idle
    assert tune.run() == []
