"""History of a sweep from its event log: runs of the driver, nodes, losses, outages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar, final

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
)
from sweeps.results.events import Event

Body = TypeVar("Body")
Timed = Sequence[tuple[datetime, EventBody]]

UNKNOWN_NODE = "unknown"
"""Name of a node that was not recorded."""


class RunOutcome(StrEnum):
    """Outcome of a run of the driver."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    BUDGET = "budget used up"
    HALTED = "halted"
    CLUSTER_LOST = "cluster lost"
    ERROR = "error"
    NOT_LOGGED = "no end logged"
    """The driver is still running, or it was killed."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DriverRun:
    """One run of the driver. Times are from the clock of its machine."""

    run: str
    began: datetime
    last: datetime
    """Time of its last event."""
    started: RunStarted | None
    ended: RunEnded | None
    outcome: RunOutcome
    planned: Planned | None
    """Last step that it started."""
    trained_since_plan: int
    """Stages trained in that step."""
    trained: tuple[datetime, ...]
    """Completion time of each stage that it trained."""
    evaluated: int
    """Number of stages that it evaluated without training them."""
    nodes: tuple[NodeJoined, ...]
    """Nodes of its cluster at its last event, without refused nodes."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One node, over all runs."""

    node: str
    address: str
    cpus: float | None
    """Number of CPUs. CPUs, GPUs and slots are None if the node's joining was not recorded."""
    gpus: float | None
    slots: int | None
    joined: int
    """Number of times it joined a cluster."""
    lost: int
    """Number of times a cluster lost it."""
    trained: int
    evaluated: int
    busy_s: float
    """Total wall time of its stages."""
    workers_lost: int
    last_stage: datetime | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LossCause:
    """Workers lost for one cause."""

    cause: str
    count: int
    nodes: tuple[str, ...]
    detail: str
    """Detail of the last loss."""
    last: datetime


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Reason for which a node was not allowed to run trials."""

    node: str
    address: str
    reason: str
    count: int
    last: datetime


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Summary of the event log of a sweep."""

    runs: tuple[DriverRun, ...]
    """Oldest first."""
    nodes: tuple[NodeRecord, ...]
    losses: tuple[LossCause, ...]
    """Causes of lost workers, the most frequent first."""
    refusals: tuple[Refusal, ...]
    notices: tuple[tuple[datetime, str], ...]
    """Storage outages and the reasons for halted runs, oldest first."""
    ends: Mapping[str, TrialEnded]
    """Last end of each trial, by trial id."""
    unread: int
    """Number of lines that this version of the code cannot read."""

    @property
    def cluster_lost(self) -> bool:
        """Return True if the last run ended because the head of its cluster was lost."""
        return bool(self.runs) and self.runs[-1].outcome is RunOutcome.CLUSTER_LOST

    def run(self, run: str) -> DriverRun | None:
        """Return the run with an id."""
        return next((each for each in self.runs if each.run == run), None)


def history_of(events: Iterable[Event]) -> History:
    """Summarize an event log."""
    by_run: dict[str, list[tuple[datetime, EventBody]]] = defaultdict(list)
    unread = 0
    for event in events:
        time, body = event.time, event.body
        if time is None or body is None:
            unread += 1
        else:
            by_run[event.run].append((time, body))
    every = [each for timed in by_run.values() for each in timed]
    every.sort(key=lambda each: each[0])
    return History(
        runs=tuple(sorted((_run(k, v) for k, v in by_run.items()), key=lambda run: run.began)),
        nodes=_nodes(every),
        losses=_losses(_of(every, WorkerLost)),
        refusals=_refusals(_of(every, NodeRefused)),
        notices=tuple(
            (time, body.text if isinstance(body, Notice) else body.reason)
            for time, body in every
            if isinstance(body, Notice | Halted)
        ),
        ends={body.trial: body for _, body in _of(every, TrialEnded)},
        unread=unread,
    )


def _of(events: Timed, kind: type[Body]) -> list[tuple[datetime, Body]]:
    return [(time, body) for time, body in events if isinstance(body, kind)]


def _run(run: str, events: Timed) -> DriverRun:
    started = [body for _, body in _of(events, RunStarted)]
    ended = [body for _, body in _of(events, RunEnded)]
    stages = _of(events, StageDone)
    plans = [place for place, (_, body) in enumerate(events) if isinstance(body, Planned)]
    step = events[plans[-1] :] if plans else []
    planned = _of(step, Planned)
    head_lost = bool(_of(events, HeadLost))
    return DriverRun(
        run=run,
        began=events[0][0],
        last=events[-1][0],
        started=started[0] if started else None,
        ended=ended[-1] if ended else None,
        outcome=_outcome(ended[-1] if ended else None, head_lost),
        planned=planned[0][1] if planned else None,
        trained_since_plan=sum(b.outcome == "trained" for _, b in _of(step, StageDone)),
        trained=tuple(time for time, body in stages if body.outcome == "trained"),
        evaluated=sum(body.outcome == "evaluated" for _, body in stages),
        nodes=_present(events),
    )


def _outcome(ended: RunEnded | None, head_lost: bool) -> RunOutcome:
    if head_lost:
        return RunOutcome.CLUSTER_LOST
    if ended is None:
        return RunOutcome.NOT_LOGGED
    if ended.error:
        return RunOutcome.ERROR
    if ended.halted:
        return RunOutcome.HALTED
    if ended.budget_used:
        return RunOutcome.BUDGET
    return RunOutcome.INTERRUPTED if ended.interrupted else RunOutcome.COMPLETED


def _present(events: Timed) -> tuple[NodeJoined, ...]:
    """Return the nodes that joined and were neither lost nor refused since."""
    present: dict[str, NodeJoined] = {}
    for _, body in events:
        if isinstance(body, NodeJoined):
            present[body.node_id] = body
        elif isinstance(body, NodeLost | NodeRefused):
            present.pop(body.node_id, None)
    return tuple(present.values())


def _nodes(events: Timed) -> tuple[NodeRecord, ...]:
    joined: dict[str, list[NodeJoined]] = defaultdict(list)
    lost: dict[str, int] = defaultdict(int)
    stages: dict[str, list[tuple[datetime, StageDone]]] = defaultdict(list)
    workers: dict[str, int] = defaultdict(int)
    for time, body in events:
        if isinstance(body, NodeJoined):
            joined[body.node].append(body)
        elif isinstance(body, NodeLost):
            lost[body.node] += 1
        elif isinstance(body, StageDone):
            stages[body.node or UNKNOWN_NODE].append((time, body))
        elif isinstance(body, WorkerLost):
            workers[body.node or UNKNOWN_NODE] += 1
    names = sorted({*joined, *lost, *stages, *workers})
    return tuple(
        NodeRecord(
            node=name,
            address=joined[name][-1].address if joined[name] else "",
            cpus=joined[name][-1].cpus if joined[name] else None,
            gpus=joined[name][-1].gpus if joined[name] else None,
            slots=joined[name][-1].slots if joined[name] else None,
            joined=len(joined[name]),
            lost=lost[name],
            trained=sum(stage.outcome == "trained" for _, stage in stages[name]),
            evaluated=sum(stage.outcome == "evaluated" for _, stage in stages[name]),
            busy_s=sum(stage.seconds for _, stage in stages[name]),
            workers_lost=workers[name],
            last_stage=stages[name][-1][0] if stages[name] else None,
        )
        for name in names
    )


def _losses(events: Sequence[tuple[datetime, WorkerLost]]) -> tuple[LossCause, ...]:
    by_cause: dict[str, list[tuple[datetime, WorkerLost]]] = defaultdict(list)
    for time, body in events:
        by_cause[body.cause].append((time, body))
    losses = [
        LossCause(
            cause=cause,
            count=len(each),
            nodes=tuple(sorted({body.node or UNKNOWN_NODE for _, body in each})),
            detail=each[-1][1].detail,
            last=each[-1][0],
        )
        for cause, each in by_cause.items()
    ]
    return tuple(sorted(losses, key=lambda loss: -loss.count))


def _refusals(events: Sequence[tuple[datetime, NodeRefused]]) -> tuple[Refusal, ...]:
    by_node: dict[tuple[str, str, str], list[datetime]] = defaultdict(list)
    for time, body in events:
        by_node[body.node, body.address, body.reason].append(time)
    return tuple(
        Refusal(node=node, address=address, reason=reason, count=len(times), last=times[-1])
        for (node, address, reason), times in by_node.items()
    )
