"""TrialMessage: everything that a worker needs to run a trial, sent through Ray."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from sweeps.execution.cluster.node_check import StorageProof


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


def owner_of(driver: str, trial: str) -> str:
    """Return the owner under which a trial of a driver leases stages."""
    return f"{driver}:{trial}"
