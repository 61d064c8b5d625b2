"""Kinds of events in the log of a sweep, one dataclass per kind, with the fields of its line.

A new field needs a default value, since older lines do not have it. `sweeps/README.md` documents
every kind and field; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A driver starts. Earlier versions recorded only `document` and `code_version`."""

    kind: ClassVar[str] = "run_started"

    document: str
    """Checksum of the merged sweep file, which is stored as `versions/DOCUMENT.yaml`."""
    code_version: str
    user: str | None = None
    host: str | None = None
    pid: int | None = None
    file: str | None = None
    """Path or name of the sweep file, as it was typed."""
    host_kind: str | None = None
    """Kind of machine of the driver."""
    address: str | None = None
    """Value of --address."""
    only: tuple[str, ...] = ()
    """Values of --only."""
    retry_failed: bool = False
    """True if --retry-failed was given."""
    time_to_live_s: float | None = None
    """Value of --lease-ttl."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A driver ends. One that was killed leaves no such line."""

    kind: ClassVar[str] = "run_ended"

    trained: int = 0
    """Stages that this run trained."""
    finished: int = 0
    """Trials of the sweep that are finished now."""
    failed: int = 0
    """Trials whose last attempt failed."""
    interrupted: bool = False
    """True if a signal ended it."""
    halted: str = ""
    """Reason for which the driver stopped before everything was done; empty if it did not."""
    budget_used: str | None = None
    """Budget limit that ended the run."""
    error: str | None = None
    """Exception that ended the run, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step of the sweep begins. A sweep without search decisions has one step."""

    kind: ClassVar[str] = "planned"

    step: int
    title: str
    trials: int
    """Trials that the sweep has requested so far."""
    todo: int
    """Trials that this step runs."""
    stages: int
    """Distinct stages of all trials."""
    stored: int
    """Stages that are in the storage already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJoined:
    """A node is part of the cluster, at the start of the run or later."""

    kind: ClassVar[str] = "node_joined"

    node: str
    """Host name."""
    address: str
    node_id: str
    """Ray's id of the node; a node that rejoins gets a new id."""
    cpus: float
    gpus: float
    slots: int
    """Number of trials that it can run in parallel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRefused:
    """A node failed a check, so no trial runs on it."""

    kind: ClassVar[str] = "node_refused"

    node: str
    address: str
    node_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost:
    """A node has left the cluster."""

    kind: ClassVar[str] = "node_lost"

    node: str
    address: str
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDone:
    """A stage was trained, or a stored one was evaluated."""

    kind: ClassVar[str] = "stage"

    trial: str
    """Id of the trial that required the stage."""
    key: str
    position: int
    """Position of the stage in its chain, from 0."""
    outcome: Literal["trained", "evaluated"]
    seconds: float
    """Wall time of training and evaluation."""
    node: str
    gpus: str = ""
    """Ids of the GPUs that the worker saw, separated by commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """An attempt of a trial has ended."""

    kind: ClassVar[str] = "trial"

    trial: str
    name: str
    """Configuration, order and seed."""
    status: Literal["finished", "failed", "stopped"]
    stages: int
    """Stages done."""
    error_kind: str | None = None
    error: str | None = None
    node: str = ""
    """Node on which it failed; empty if it did not fail or the node is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """A worker process was lost. If retries are left, its trial continues from its last stage."""

    kind: ClassVar[str] = "worker_lost"

    trial: str
    name: str
    node: str
    """Empty if not known."""
    cause: str
    """Cause, such as `NodeLost`, `Preempted`, `WorkerDied`, `OutOfMemory`."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Message of a waiting worker: its storage is unreachable, or is reachable again."""

    kind: ClassVar[str] = "notice"

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuShareDecided:
    """The share of a GPU for `resources.gpu: auto` was decided, by a new or stored measurement."""

    kind: ClassVar[str] = "gpu_share"

    gpu: float
    """Share of one GPU that each trial reserves."""
    trials_per_gpu: int
    needed_bytes: int
    """GPU memory that a trial needs, margin included; 0 if nothing could be measured."""
    gpu_type: str | None = None
    """The smallest type of GPU that trials may run on."""
    gpu_bytes: int | None = None
    """Memory of that type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """The driver starts no further stages, because the storage is full or unreachable."""

    kind: ClassVar[str] = "halted"

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLost:
    """The head of the Ray cluster is lost, and the driver ends."""

    kind: ClassVar[str] = "head_lost"


EventBody = (
    RunStarted
    | RunEnded
    | Planned
    | NodeJoined
    | NodeRefused
    | NodeLost
    | StageDone
    | TrialEnded
    | WorkerLost
    | Notice
    | GpuShareDecided
    | Halted
    | HeadLost
)

KINDS: Mapping[str, type[EventBody]] = {body.kind: body for body in get_args(EventBody)}
"""Event classes by kind, the field `event` of their lines."""


FIELDS: Mapping[str, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(body)) for kind, body in KINDS.items()
}
"""Names of the fields of every kind."""


def encoded(body: EventBody) -> dict[str, Any]:
    """Return the fields of an event, as written to its line."""
    return {name: getattr(body, name) for name in FIELDS[body.kind]}


def decoded(kind: str, values: Mapping[str, Any]) -> EventBody | None:
    """Return the event of a line; None if its kind is unknown or its fields do not fit it.

    Fields that this version does not know are left out.
    """
    if kind not in KINDS:
        return None
    make: Callable[..., EventBody] = KINDS[kind]
    known = {name: values[name] for name in FIELDS[kind] if name in values}
    accepts = _tests(kind)
    if not all(accepts[name](value) for name, value in known.items()):
        return None
    try:
        return make(**{n: tuple(v) if isinstance(v, list) else v for n, v in known.items()})
    except TypeError:  # a field without a default is missing
        return None


@cache
def _tests(kind: str) -> dict[str, Callable[[Any], bool]]:
    hints = get_type_hints(KINDS[kind])
    return {name: _test_of(hints[name]) for name in FIELDS[kind]}


def _test_of(hint: Any) -> Callable[[Any], bool]:
    """Return a predicate that checks that a value read from JSON has the type of a field."""
    if get_origin(hint) is tuple:
        return lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value)
    if get_origin(hint) is Literal:
        return lambda value: value in get_args(hint)
    allowed = get_args(hint) or (hint,)
    if float in allowed:
        allowed = (*allowed, int)
    return lambda value: isinstance(value, allowed)
