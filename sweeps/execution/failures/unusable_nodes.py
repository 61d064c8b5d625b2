"""Exclusion of nodes on which a worker cannot run a trial, by the outcome of its step."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from clmethods.config import ConfigIssue
from sweeps.execution.cluster.cluster_watch import ClusterWatch
from sweeps.execution.worker.trial_message import StepResult

UNREACHABLE = (
    "the storage could not be reached; what is stored is complete, and the same command continues"
)


@final
class UnusableNodes:
    """Excludes nodes, or ends the run if there is no other node that could run the trial."""

    def __init__(self, watch: ClusterWatch, halt: Callable[[str], None]) -> None:
        """`halt`: ends the run for a reason."""
        self._watch, self._halt = watch, halt

    def handle(self, result: StepResult) -> None:
        """Exclude the node of a step that it could not run. Other outcomes are ignored."""
        handlers = {
            "unshared": self._unshared,
            "other_versions": self._other_versions,
            "unreachable": self._unreachable,
            "gpu_too_small": self._gpu_too_small,
        }
        handler = handlers.get(result["outcome"])
        if handler is not None:
            handler(result["node_id"], result["host"], result.get("error", ""))

    def _unshared(self, node_id: str, host: str, error: str) -> None:
        self._watch.leave_out(node_id)

    def _other_versions(self, node_id: str, host: str, error: str) -> None:
        self._watch.leave_out(node_id, ConfigIssue("node", host, "the same software", error))

    def _unreachable(self, node_id: str, host: str, error: str) -> None:
        issue = ConfigIssue("node", host, "a node that reaches the storage of this run", error)
        if not self._watch.reaches_storage() or not self._watch.leave_out(node_id, issue):
            self._halt(f"{UNREACHABLE} ({host}: {error})")

    def _gpu_too_small(self, node_id: str, host: str, error: str) -> None:
        hint = f"{error}. Set resources.gpu to a larger share, or resources.gpu_type"
        issue = ConfigIssue("node", host, "a node with enough GPU memory", hint)
        if not self._watch.leave_out(node_id, issue):
            self._halt(f"{error}. Set resources.gpu to a larger share")
