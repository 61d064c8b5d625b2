"""NodeGuard: admits nodes of a cluster that see the storage and have the same software."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.execution.cluster.node_check import (
    NodeReport,
    StorageProof,
    check_node,
    version_issue,
)
from sweeps.execution.cluster.nodes import Node, Nodes, on_node
from sweeps.execution.cluster.software_versions import Versions, installed_versions

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

LOOKS_EVERY_S = 2.0
"""Seconds between two requests for the list of nodes during a sweep."""
CHECK_LIMIT_S = 120.0
"""Seconds that the nodes present at the start may take for their checks."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvents:
    """Callbacks from the guard to the driver; each is called once per node and change."""

    joined: Callable[[Node], None]
    refused: Callable[[Node, ConfigIssue], None]
    lost: Callable[[Node], None]


@final
class NodeGuard:
    """Checks every node once: the present nodes before anything runs, later nodes when they join.

    A later node that fails its check is kept from running trials: all its CPUs and GPUs are
    reserved for the duration of the run.
    """

    def __init__(
        self,
        proof: StorageProof,
        events: NodeEvents,
        nodes: Nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proof, self._events, self._nodes, self._clock = proof, events, nodes, clock
        self._known: dict[str, Node] = {}
        self._checks: dict[ObjectRef, Node] = {}
        self._reserved: dict[str, ActorHandle] = {}
        self._next = -math.inf

    def check_present(self) -> None:
        """Check the present nodes. Raises `InvalidConfigError` with all issues."""
        import ray

        for node in self._nodes.all():
            if node.alive:
                self._admit(node)
        issues: list[ConfigIssue] = []
        deadline = self._clock() + CHECK_LIMIT_S
        while self._checks:
            limit = max(0.0, deadline - self._clock())
            done, _ = ray.wait([*self._checks], timeout=limit)
            for check in done or [*self._checks]:
                node = self._checks.pop(check)
                issue = self._outcome(node, check) if done else _no_answer(node)
                issues += [issue] if issue is not None else []
        if issues:
            raise InvalidConfigError(issues)

    def look(self) -> None:
        """Process nodes that joined, were checked or were lost; at most every `LOOKS_EVERY_S`."""
        import ray

        now = self._clock()
        if now < self._next:
            return
        self._next = now + LOOKS_EVERY_S
        alive = {node.node_id: node for node in self._nodes.all() if node.alive}
        for node_id in [*self._known]:
            if node_id not in alive:
                self._events.lost(self._known.pop(node_id))
                self._reserved.pop(node_id, None)
        for node_id, node in alive.items():
            if node_id not in self._known:
                self._admit(node)
        if self._checks:
            done, _ = ray.wait([*self._checks], num_returns=len(self._checks), timeout=0)
            for check in done:
                node = self._checks.pop(check)
                issue = self._outcome(node, check)
                if issue is not None and node.node_id in alive:
                    self.refuse(node.node_id, issue)

    def refuse(self, node_id: str, issue: ConfigIssue | None = None) -> None:
        """Keep trials from a node from now on."""
        node = self._known.get(node_id)
        if node is None or node_id in self._reserved:
            return
        self._reserved[node_id] = _reserve(node)
        self._events.refused(node, issue or self._unshared(node))

    def _admit(self, node: Node) -> None:
        self._known[node.node_id] = node
        self._events.joined(node)
        if node.runs_trials:
            self._checks[on_node(check_node, node.node_id).remote(self._proof)] = node

    def _outcome(self, node: Node, check: ObjectRef) -> ConfigIssue | None:
        """Return the issue of a node whose check has ended; None if there is none."""
        import ray
        from ray.exceptions import RayError

        try:
            report = NodeReport(**ray.get(check))
        except RayError as error:
            if not self._nodes.is_alive(node.node_id):
                return None  # it was lost in the meantime
            lines = [line for line in str(error).splitlines() if line.strip()]
            return ConfigIssue(
                "node",
                node.shown,
                "a node on which this package is installed",
                f"A task there failed: {type(error).__name__}: {lines[-1].strip()}",
            )
        return self._fault_of(node, report)

    def _fault_of(self, node: Node, report: NodeReport) -> ConfigIssue | None:
        issue = version_issue(node.shown, Versions(**report.versions), installed_versions())
        if issue is not None:
            return issue
        if not report.shared:
            return self._unshared(node, report.error)
        if not report.writable:
            return ConfigIssue(
                "node",
                node.shown,
                f"a node that may write to {self._proof['location']}",
                report.error,
            )
        return None

    def _unshared(self, node: Node, error: str = "") -> ConfigIssue:
        location = self._proof["location"]
        found = error or f"{location} there does not hold what the driver wrote"
        return ConfigIssue(
            "node",
            node.shown,
            "a node that sees the storage of this run",
            f"On that node: {found}. Mount the shared folder there under the same path, or use "
            "a bucket (--storage s3://…).",
        )


def _no_answer(node: Node) -> ConfigIssue:
    return ConfigIssue(
        "node",
        node.shown,
        f"a node that answers within {CHECK_LIMIT_S:g} s",
        "Look at it with `ray status` and at its logs, or end it.",
    )


class _Reservation:
    """Holds all resources of a node until the reservation ends."""


def _reserve(node: Node) -> ActorHandle:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return (
        ray.remote(_Reservation)
        .options(
            num_cpus=node.resources.get("CPU", 0.0),
            num_gpus=node.resources.get("GPU", 0.0),
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False),
        )
        .remote()
    )
