"""Messages between driver and worker: the trial to run, and the result of each step."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from sweeps.execution.cluster.node_check import StorageProof

Outcome = Literal[
    "trained",
    "evaluated",
    "waiting",
    "done",
    "unshared",
    "other_versions",
    "unreachable",
    "gpu_too_small",
    "halted",
    "failed",
    "ended",
]
"""Outcome of a step: one of `StepReport`, or what prevented the step. The scheduler sets `ended`
for a trial that has no further step."""


class TrialMessage(TypedDict):
    """Message to a worker, sent through Ray: strings and numbers only."""

    trial: str
    """Canonical JSON of the `TrialSpec`."""
    stages: int
    """Number of stages of the trial that are requested now."""
    sweep: str
    storage: str
    options: NotRequired[str]
    """`ObjectStore.options` of the driver as JSON; without it the worker's environment decides."""
    proof: StorageProof | None
    """Object of the driver that must be in the storage; None on a single machine."""
    run_id: str
    """Id of the driver's run, under which it collects notices."""
    owner: str
    """Owner under which the worker leases stages; see `owner_of`."""
    time_to_live_s: float
    objectives: list[str]
    """Metrics to show in addition to the default ones."""
    demand: dict[str, float]
    """Resources that Ray reserves for the trial: `CPU`, `GPU`."""
    gpu_types: list[str]
    """Types of GPU that it may run on, in order of preference; empty allows any."""
    gpu_bytes: int
    """GPU bytes that a trial needs, as measured; 0 if nothing was measured."""


class TrialConfig(TypedDict):
    """Configuration that Tune passes to a worker."""

    message: TrialMessage


class StepFields(TypedDict, total=False):
    """Fields of a `StepResult` that only some outcomes have."""

    key: str
    """Key of the stage, unless the step failed."""
    seconds: float
    """Wall time of training and evaluation."""
    figures: dict[str, float]
    """Metrics of the trial after the step."""
    error: str
    error_kind: str


class StepResult(StepFields):
    """Result of one step of a worker, returned through Ray: strings and numbers only."""

    outcome: Outcome
    position: int
    """Number of stages of the trial that are complete now."""
    host: str
    node_id: str
    gpus: str
    notes: str
    """Messages of the store for the user, one per line."""
    done: bool
    """True if the worker has nothing more to do for the trial."""


def owner_of(driver: str, trial: str) -> str:
    """Return the owner under which a trial of a driver leases stages."""
    return f"{driver}:{trial}"
