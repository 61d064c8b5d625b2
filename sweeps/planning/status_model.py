"""Data model of `sweeps status`: drivers, nodes, running stages and failed trials of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    """Something is left to do, and a driver that has not ended properly sends no beats."""
    FINISHED = "finished"
    """Nothing is left to do; some trials may have failed."""
    STOPPED = "stopped"
    """Something is left to do, and no driver is active."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Driver that has not ended properly."""

    run: str
    sign: Sign
    host: str
    user: str
    pid: int | None
    file: str
    since: datetime | None
    running_s: float | None
    """Seconds since its start, by its own clock, up to its last beat."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStage:
    """Stage that is being computed."""

    node: str
    trial: str
    name: str
    """Configuration, order and seed; the trial's id if they are not known."""
    key: str
    position: int | None
    """Position of the stage, from 0; None if it is not known."""
    stages: int | None
    """Number of stages of the whole trial."""
    held_s: float | None
    """Seconds for which its lease has been held, by the clock of its node."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """Node in the cluster of a driver that is alive."""

    node: str
    address: str
    slots: int
    busy: int
    """Number of stages of this sweep that it is computing."""
    trained: int
    """Number of stages of this sweep that it has trained, in all runs."""
    lost: int
    """Number of times that a cluster has lost it."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTrial:
    """Trial whose last attempt failed."""

    trial: str
    name: str
    cause: str
    """Kind of the error; empty if it is not known."""
    error: str
    node: str
    """Host name of the node; empty if it is not known."""


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
    """Seconds until all requested stages are trained, at the throughput of the last hour; None if
    no stage was trained in that hour."""
    failed: tuple[FailedTrial, ...]
    history: History
    plan: Plan | None
    """Plan of the sweep; None if the sweep file cannot be resolved on this machine."""
    unresolved: str
    """Reason why there is no plan."""
    left_out: tuple[str, ...]
    """Keys of damaged files: of `trials`, whose trials count as not ended, of evaluations that the
    next step depends on, of the event log, and leases."""
    warnings: tuple[str, ...]
    """One sentence for each of these files, with the reason and the remedy."""

    def naming(self, left_out: Mapping[str, str]) -> SweepStatus:
        """Return the status with further files that were left out."""
        return replace(
            self,
            left_out=(*self.left_out, *left_out),
            warnings=(*self.warnings, *left_out.values()),
        )
