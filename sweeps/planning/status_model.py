"""What `sweeps status` tells of a sweep: drivers, nodes, running stages, failed trials."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import final

from sweeps.planning.lease_readings import Sign
from sweeps.planning.plan import Plan
from sweeps.planning.progress_counts import Counts
from sweeps.results.history import History
from sweeps.results.throughput import Throughput


class SweepState(StrEnum):
    """State of a sweep."""

    RUNNING = "running"
    SILENT = "silent"
    """Something is left to do, and a driver has not ended in order, but does not beat either."""
    FINISHED = "finished"
    """Nothing is left to do; some trials may have failed."""
    STOPPED = "stopped"
    """No driver is at work, and something is left to do."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A driver that has not ended in order."""

    run: str
    sign: Sign
    host: str
    user: str
    pid: int | None
    file: str
    since: datetime | None
    running_s: float | None
    """By its own clock, up to its last beat."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStage:
    """A stage that is being computed."""

    node: str
    trial: str
    name: str
    """Configuration, order and seed; the trial's id where they are not known."""
    key: str
    position: int | None
    """From 0; None if not known."""
    stages: int | None
    """Stages of the whole trial."""
    held_s: float | None
    """For how long, by the clock of its node."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """A node of the cluster of a driver that is alive."""

    node: str
    address: str
    slots: int
    busy: int
    """Stages of this sweep that it computes now."""
    trained: int
    """Stages of this sweep that it has trained, in all runs."""
    lost: int
    """How often a cluster has lost it."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTrial:
    """A trial whose last attempt failed."""

    trial: str
    name: str
    cause: str
    """Kind of the error; empty if not known."""
    error: str
    node: str
    """Empty if not known."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """Status of one sweep."""

    name: str
    state: SweepState
    counts: Counts
    drivers: tuple[Driver, ...]
    nodes: tuple[NodeStatus, ...]
    running: tuple[RunningStage, ...]
    speed: Throughput
    left_s: float | None
    """Seconds until everything that is asked for by now is trained, at the throughput of the last
    hour; None if nothing was trained in that hour."""
    failed: tuple[FailedTrial, ...]
    history: History
    plan: Plan | None
    """None if the sweep file cannot be resolved on this machine."""
    unresolved: str
    """Why not."""
