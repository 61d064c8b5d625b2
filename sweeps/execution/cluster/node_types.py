"""Node types that the autoscaler of a cluster can add, as far as a driver can determine them.

Ray 2.60 has no list of node types that a driver can read: with Ray's own autoscalers, the cluster
configuration in its control service is empty. The configuration file of the autoscaler is on the
head, and its path is an argument of the monitor process there. An autoscaler that runs elsewhere
(KubeRay) has no such file. In that case, version 2 at least reports the demands that it cannot
meet.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, final

import yaml

from sweeps.execution.cluster.nodes import Nodes, on_node
from sweeps.execution.resources.trial_resources import Demand, NodeShape

LOOKS_EVERY_S = 10.0
"""Seconds between two requests to the autoscaler for the demands that it cannot meet."""
_HEAD_ANSWERS_S = 60.0
_MONITOR = "ray/autoscaler/"
_MONITOR_V2 = "ray/autoscaler/v2/monitor.py"


class Growth(StrEnum):
    """Kinds of nodes that may join a cluster."""

    NONE = "none"
    """Only nodes that are started manually: there is no autoscaler."""
    LISTED = "listed"
    """Nodes of known types."""
    UNKNOWN = "unknown"
    """Nodes of an autoscaler whose node types this driver cannot read."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTypes:
    """Nodes that may join a cluster."""

    growth: Growth
    shapes: tuple[NodeShape, ...] = ()
    """One shape per node type that can be added; empty unless the types are listed."""
    reads_labels: bool = True
    """True if the autoscaler considers labels when it chooses a node type. Version 1 does not."""


def node_types(nodes: Nodes) -> NodeTypes:
    """Return the node types that may join the cluster of this process."""
    listed = _in_control_service()
    if listed:
        return NodeTypes(growth=Growth.LISTED, shapes=listed)
    return _from_fields(_monitor_on_head(nodes))


def infeasible(demands: Sequence[Demand]) -> list[Demand]:
    """Return the demands that version 2 of the autoscaler reports as impossible to meet now.

    Such a demand may be met later: the cluster may have reached its maximum size.
    """
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
    from ray.exceptions import RayError

    reply = GetClusterStatusReply()
    address = ray.get_runtime_context().gcs_address
    try:
        reply.ParseFromString(GcsClient(address=address).get_cluster_status())
    except RayError:  # the head is busy or lost; other code detects that
        return []
    state = reply.autoscaling_state
    bundles = [
        dict(request.resources_bundle)
        for gang in state.infeasible_gang_resource_requests
        for request in gang.requests
    ]
    return [demand for demand in demands if demand.amounts in bundles]


@final
class InfeasibleWatch:
    """Detects trials that no node holds and for which the autoscaler cannot add a node.

    Needed only if the node types are unknown. Each demand is reported once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = -math.inf
        self._reported: set[Demand] = set()

    def look(
        self, types: NodeTypes | None, present: Sequence[NodeShape], demands: Sequence[Demand]
    ) -> list[str]:
        """Return new sentences, at most every `LOOKS_EVERY_S`."""
        if types is None or types.growth is not Growth.UNKNOWN or self._clock() < self._next:
            return []
        self._next = self._clock() + LOOKS_EVERY_S
        waiting = [
            demand
            for demand in demands
            if demand not in self._reported and not any(node.capacity(demand) for node in present)
        ]
        found = infeasible(waiting) if waiting else []
        self._reported.update(found)
        return [
            f"the autoscaler cannot add a node for a trial, which needs {demand.text} on one "
            "node: no node type has that, or the cluster has reached its maximum size (see "
            "`ray status`)"
            for demand in found
        ]


def monitor_fields(session: str) -> dict[str, Any]:
    """Return the node types that the autoscaler's monitor on this machine knows, as plain data.

    `monitor`: True if there is a monitor; `version`: version of the autoscaler; `types`: node
    types of its configuration file, None if there is no file or it cannot be read. Runs on the
    head.
    """
    arguments = _monitor_arguments(session)
    if not arguments:
        return {"monitor": False, "version": 0, "types": None}
    version = 2 if any(_MONITOR_V2 in argument for argument in arguments) else 1
    prefix = "--autoscaling-config="
    paths = [a.removeprefix(prefix) for a in arguments if a.startswith(prefix)]
    if not paths:
        return {"monitor": True, "version": version, "types": []}
    try:
        found = yaml.safe_load(Path(paths[0]).expanduser().read_text(encoding="utf-8"))
        head = found.get("head_node_type")
        types = [
            {
                "name": name,
                "resources": fields.get("resources"),
                "labels": fields.get("labels"),
                "max_workers": fields.get("max_workers", 0 if name == head else 1),
            }
            for name, fields in found["available_node_types"].items()
        ]
    except (OSError, ValueError, KeyError, AttributeError, yaml.YAMLError):
        types = None
    return {"monitor": True, "version": version, "types": types}


def _monitor_arguments(session: str) -> list[str]:
    """Return the command line of the monitor of a Ray session; empty if it runs elsewhere."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        here = any(f"/{session}/" in f"{a}/" for a in arguments if a.startswith("--logs-dir="))
        if here and any(_MONITOR in a and a.endswith("/monitor.py") for a in arguments):
            return arguments
    return []


def _monitor_on_head(nodes: Nodes) -> Mapping[str, Any]:
    """Return the monitor fields of the head, through a Ray task if it is another node."""
    import ray
    from ray._private.ray_constants import KV_NAMESPACE_SESSION
    from ray.exceptions import RayError
    from ray.experimental.internal_kv import _internal_kv_get

    unknown = {"monitor": False, "version": 0, "types": None}
    name = _internal_kv_get(b"session_name", namespace=KV_NAMESPACE_SESSION)
    heads = [n for n in nodes.all() if n.alive and "node:__internal_head__" in n.resources]
    if name is None or not heads:
        return unknown
    session, head = os.fsdecode(name), heads[0].node_id
    if ray.get_runtime_context().get_node_id() == head:
        return monitor_fields(session)
    try:
        task = on_node(monitor_fields, head).remote(session)
        found: Mapping[str, Any] = ray.get(task, timeout=_HEAD_ANSWERS_S)
    except RayError:
        return unknown
    return found


def _from_fields(found: Mapping[str, Any]) -> NodeTypes:
    types, reads_labels = found["types"], found["version"] != 1
    if types is None:
        return NodeTypes(growth=Growth.UNKNOWN, reads_labels=reads_labels)
    if not types:
        return NodeTypes(growth=Growth.NONE)
    added = [each for each in types if each["max_workers"]]
    # hosts reached by ssh, with unknown resources
    if not all(each["resources"] for each in added):
        return NodeTypes(growth=Growth.UNKNOWN, reads_labels=reads_labels)
    shapes = tuple(
        NodeShape(
            name=f"node type {each['name']}",
            cpu=float(each["resources"].get("CPU", 0)),
            gpu=float(each["resources"].get("GPU", 0)),
            labels=dict(each["labels"] or {}),
        )
        for each in added
    )
    return NodeTypes(growth=Growth.LISTED, shapes=shapes, reads_labels=reads_labels)


def _in_control_service() -> tuple[NodeShape, ...]:
    """Return the node groups that some managed Ray services publish; they have no labels."""
    from ray._private.state import state

    config = state.get_cluster_config()
    return tuple(
        NodeShape(
            name=f"node type {group.name}",
            cpu=float(group.resources.get("CPU", 0)),
            gpu=float(group.resources.get("GPU", 0)),
            labels=None,
        )
        for group in (config.node_group_configs if config is not None else ())
        if group.max_count != 0
    )
