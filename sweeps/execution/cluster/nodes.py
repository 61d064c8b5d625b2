"""Nodes and dead actors of a Ray cluster, read from Ray's control service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the cluster."""

    node_id: str
    name: str
    """Host name."""
    address: str
    alive: bool
    resources: Mapping[str, float] = field(default_factory=dict)
    """Total resources by kind: `CPU`, `GPU` and others."""
    labels: Mapping[str, str] = field(default_factory=dict)
    preempted: bool = False
    """True if its provider took the node away."""

    @property
    def runs_trials(self) -> bool:
        """Return True if a trial can be placed on the node."""
        return self.alive and self.resources.get("CPU", 0.0) > 0

    @property
    def shown(self) -> str:
        """Return its host name and address."""
        return self.name if self.name == self.address else f"{self.name} ({self.address})"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Ray's record of an actor: its node, and the cause of its end."""

    node_id: str
    node_died: bool
    worker_died: bool
    out_of_memory: bool


@final
class Nodes:
    """Looks up nodes and actors. Needs a connection to Ray."""

    def all(self) -> list[Node]:
        """Return every node that ever joined, including lost nodes."""
        import ray

        return [_node(entry) for entry in ray.nodes()]

    def name(self, node_id: str) -> str:
        """Return the host name of a node; empty if the node is not known."""
        return next((node.name for node in self.all() if node.node_id == node_id), "")

    def is_alive(self, node_id: str) -> bool:
        """Return True if a node is part of the cluster."""
        return any(node.node_id == node_id and node.alive for node in self.all())

    def actor(self, actor_id: str | None) -> Actor | None:
        """Return the record of an actor; None if Ray has none."""
        from ray._private.state import state
        from ray.core.generated.common_pb2 import ActorDiedErrorContext

        found: dict[str, Any] = state.actor_table(actor_id) if actor_id else {}
        if not found:
            return None
        cause = found["DeathCause"]
        reason = cause.actor_died_error_context.reason
        return Actor(
            node_id=found["Address"]["NodeID"],
            node_died=reason == ActorDiedErrorContext.Reason.NODE_DIED,
            worker_died=reason == ActorDiedErrorContext.Reason.WORKER_DIED,
            out_of_memory=cause.WhichOneof("context") == "oom_context",
        )


def _node(entry: Mapping[str, Any]) -> Node:
    from ray.core.generated.common_pb2 import NodeDeathInfo

    address = str(entry["NodeManagerAddress"])
    return Node(
        node_id=entry["NodeID"],
        name=str(entry.get("NodeManagerHostname") or address),
        address=address,
        alive=bool(entry["Alive"]),
        resources=dict(entry.get("Resources", {})),
        labels=dict(entry.get("Labels", {})),
        preempted=entry.get("DeathReason") == NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED,
    )


def on_node(function: Callable[..., Any], node_id: str) -> Any:
    """Return the function as a Ray task that runs on one node, even if the node is busy."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
