"""Runs, nodes, losses and throughput from event logs that are made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sweeps.results.event_kinds import (
    EventBody,
    Halted,
    HeadLost,
    NodeJoined,
    NodeLost,
    NodeRefused,
    Notice,
    Planned,
    RunEnded,
    RunStarted,
    StageDone,
    TrialEnded,
    WorkerLost,
    encoded,
)
from sweeps.results.events import Event
from sweeps.results.history import DriverRun, RunOutcome, history_of
from sweeps.results.throughput import throughput

START = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
WHO = RunStarted(document="d", code_version="c", user="ada", host="head")


def event(minutes: float, body: EventBody, run: str = "r1") -> Event:
    at = (START + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")
    return Event(at, run, body.kind, json.loads(json.dumps(encoded(body))))


def joined(node: str, node_id: str = "", slots: int = 2) -> NodeJoined:
    return NodeJoined(
        node=node, address="10.0.0.1", node_id=node_id or node, cpus=2, gpus=0, slots=slots
    )


def stage(node: str, outcome: str = "trained", seconds: float = 10.0) -> StageDone:
    return StageDone(
        trial="t",
        key="k",
        position=0,
        outcome="trained" if outcome == "trained" else "evaluated",
        seconds=seconds,
        node=node,
    )


def lost(node: str, cause: str, detail: str = "a worker died") -> WorkerLost:
    return WorkerLost(trial="t", name="n", node=node, cause=cause, detail=detail)


ENDS: dict[RunOutcome, list[EventBody]] = {
    RunOutcome.COMPLETED: [RunEnded(trained=1)],
    RunOutcome.INTERRUPTED: [RunEnded(interrupted=True)],
    RunOutcome.BUDGET: [RunEnded(budget_used="stages: 4 of 4 are used")],
    RunOutcome.HALTED: [Halted(reason="full"), RunEnded(halted="full")],
    RunOutcome.ERROR: [RunEnded(error="InvalidConfigError: x")],
    RunOutcome.CLUSTER_LOST: [HeadLost()],
    RunOutcome.NOT_LOGGED: [],
}


@pytest.mark.parametrize("outcome", list(RunOutcome))
def test_how_a_run_ended(outcome: RunOutcome) -> None:
    events = [event(0, WHO), event(1, stage("w1"))]
    events += [event(2, body) for body in ENDS[outcome]]
    (run,) = history_of(events).runs
    assert run.outcome is outcome
    assert run.started == WHO
    assert (run.began, len(run.trained)) == (START, 1)
    assert run.last == START + timedelta(minutes=2 if ENDS[outcome] else 1)


def test_nodes_of_a_cluster_that_changes() -> None:
    history = history_of(
        [
            event(0, WHO),
            event(0, joined("w1")),
            event(0, joined("w2", "first")),
            event(0, joined("w3")),
            event(1, stage("w2", seconds=4)),
            event(2, NodeLost(node="w2", address="10.0.0.1", node_id="first")),
            event(3, joined("w2", "second", slots=3)),
            event(3, NodeRefused(node="w3", address="10.0.0.1", node_id="w3", reason="other")),
            event(4, stage("w2", "evaluated", seconds=2)),
            event(5, stage("")),
        ]
    )
    (run,) = history.runs
    assert {(node.node, node.node_id) for node in run.nodes} == {("w1", "w1"), ("w2", "second")}
    w1, w2, w3 = (next(n for n in history.nodes if n.node == name) for name in ("w1", "w2", "w3"))
    assert (w2.slots, w2.joined, w2.lost) == (3, 2, 1)
    assert (w2.trained, w2.evaluated, w2.busy_s) == (1, 1, 6.0)
    assert w2.last_stage == START + timedelta(minutes=4)
    assert (w1.trained, w1.last_stage) == (0, None)
    assert [(r.node, r.reason) for r in history.refusals] == [("w3", "other")]
    assert w3.slots == 2
    assert next(n for n in history.nodes if n.node == "unknown").trained == 1


def test_losses_by_cause_the_most_frequent_first() -> None:
    history = history_of(
        [
            event(0, lost("w1", "WorkerDied")),
            event(1, lost("w2", "NodeLost", "first")),
            event(2, lost("w1", "NodeLost", "second")),
            event(3, lost("", "NodeLost", "third")),
        ]
    )
    first, second = history.losses
    assert (first.cause, first.count, first.nodes) == ("NodeLost", 3, ("unknown", "w1", "w2"))
    assert (first.detail, first.last) == ("third", START + timedelta(minutes=3))
    assert (second.cause, second.count) == ("WorkerDied", 1)


def test_notices_of_all_runs_come_in_the_order_of_time() -> None:
    history = history_of(
        [
            event(2, Notice(text="w1: back"), "a"),
            event(3, Halted(reason="full"), "a"),
            event(1, Notice(text="w1: out of reach"), "b"),
        ]
    )
    assert [text for _, text in history.notices] == ["w1: out of reach", "w1: back", "full"]
    assert [run.run for run in history.runs] == ["b", "a"]


def test_the_last_end_of_a_trial_counts_whichever_run_it_is_of() -> None:
    failed = TrialEnded(trial="t", name="n", status="failed", stages=0, node="w1")
    finished = TrialEnded(trial="t", name="n", status="finished", stages=3)
    history = history_of([event(9, finished, "b"), event(1, failed, "a")])
    assert history.ends == {"t": finished}


def test_the_last_step_and_what_was_trained_in_it() -> None:
    planned = [
        Planned(step=n, title="t", trials=4, todo=2, stages=10, stored=stored)
        for n, stored in ((1, 0), (2, 3))
    ]
    events = [event(0, planned[0]), event(1, stage("w1")), event(2, planned[1])]
    events += [event(3, stage("w1")), event(4, stage("w1", "evaluated"))]
    (run,) = history_of(events).runs
    assert (run.planned, run.trained_since_plan) == (planned[1], 1)


def test_lines_that_are_not_understood_are_counted() -> None:
    newer = Event("2026-11-30T09:00:00+00:00", "r1", "energy_used", {"kwh": 1})
    untimed = Event("yesterday", "r1", "head_lost", {})
    history = history_of([newer, untimed, event(0, WHO)])
    assert history.unread == 2
    assert len(history.runs) == 1


def test_an_empty_log() -> None:
    history = history_of([])
    assert (history.runs, history.nodes, history.unread) == ((), (), 0)
    speed = throughput(history.runs, START, {})
    assert (speed.recent_per_hour, speed.per_hour, speed.stages) == (None, None, 0)


def runs_of(*events: Event) -> tuple[DriverRun, ...]:
    return history_of(events).runs


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_throughput_of_a_run_that_is_alive() -> None:
    """Ten stages in the first hour, twenty in the second."""
    first = [event(6 * k, stage("w1")) for k in range(10)]
    second = [event(61 + 2 * k, stage("w1")) for k in range(20)]
    runs = runs_of(event(0, WHO), *first, *second)
    speed = throughput(runs, at(120), {"r1": at(120)})
    assert (speed.stages, speed.recent_stages) == (30, 20)
    assert speed.recent_per_hour == pytest.approx(20.0)
    assert speed.per_hour == pytest.approx(15.0)


def test_a_run_that_is_alive_is_measured_by_its_own_clock() -> None:
    """The reader's clock is five minutes behind, or two hours ahead."""
    runs = runs_of(event(0, WHO), *[event(k, stage("w1")) for k in range(1, 31)])
    for wrong in (at(25), at(150)):
        speed = throughput(runs, wrong, {"r1": at(30)})
        assert speed.recent_stages == 30
        assert speed.recent_per_hour == pytest.approx(60.0)


def test_time_without_a_driver_does_not_count() -> None:
    runs = runs_of(
        event(0, WHO, "a"),
        *[event(k, stage("w1"), "a") for k in range(1, 11)],
        event(10, RunEnded(), "a"),
        event(50, WHO, "b"),
        *[event(50 + k, stage("w1"), "b") for k in range(1, 6)],
        event(55, RunEnded(), "b"),
    )
    speed = throughput(runs, at(58), {})
    assert speed.recent_stages == 15
    assert speed.recent_per_hour == pytest.approx(60.0)
    late = throughput(runs, at(300), {})
    assert (late.recent_stages, late.recent_per_hour) == (0, None)
    assert late.per_hour == pytest.approx(60.0)


def test_two_drivers_at_once_are_faster_than_one() -> None:
    runs = runs_of(
        *[event(k, stage("w1"), "a") for k in range(31)],
        *[event(k, stage("w2"), "b") for k in range(31)],
    )
    speed = throughput(runs, at(30), {"a": at(30), "b": at(30)})
    assert speed.per_hour == pytest.approx(124.0)
