"""ClusterWatch: monitors the head and the nodes of a cluster while a sweep runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import final

from clmethods.config import ConfigIssue
from sweeps.definition import Resources, TrialSpec
from sweeps.execution.cluster.head_watch import HeadWatch
from sweeps.execution.cluster.node_check import StorageProof, sees, storage_proof
from sweeps.execution.cluster.node_guard import NodeEvents, NodeGuard
from sweeps.execution.cluster.node_tally import slots_text
from sweeps.execution.cluster.nodes import Node, Nodes
from sweeps.execution.progress import Progress
from sweeps.execution.resources.trial_resources import slots_on
from sweeps.execution.worker.trial_message import StepResult
from sweeps.results.event_kinds import NodeJoined, NodeLost, NodeRefused
from sweeps.results.events import EventLog
from sweeps.storage import ObjectStore, is_storage_fault

UNREACHABLE = (
    "the storage could not be reached; what is stored is complete, and the same command continues"
)


@final
class ClusterWatch:
    """Records nodes that join and leave, and excludes those that cannot run trials.

    On a single machine it watches only Ray's control service.
    """

    def __init__(
        self,
        objects: ObjectStore,
        sweep: str,
        nodes: Nodes,
        progress: Progress,
        events: EventLog,
        head_lost: Callable[[], None],
        halt: Callable[[str], None],
    ) -> None:
        """`head_lost`: called in another thread when the control service is gone.

        `halt`: ends the run for a reason, if no other node could run a trial.
        """
        self._objects, self._sweep, self._nodes = objects, sweep, nodes
        self._progress, self._events, self._head_lost = progress, events, head_lost
        self._halt = halt
        self._guard: NodeGuard | None = None
        self._trials: Sequence[TrialSpec] = ()
        self._resources = Resources()
        self._started = False
        self.proof: StorageProof | None = None
        """Object that every node must read; None on a single machine."""

    @contextmanager
    def watching(
        self, local: bool, trials: Sequence[TrialSpec], resources: Resources
    ) -> Iterator[None]:
        """Watch during the block; on a cluster, check the present nodes first.

        `trials` and `resources` determine the number of slots of a node. Raises
        `InvalidConfigError` with all issues of the nodes.
        """
        import ray

        self._trials, self._resources = trials, resources
        with ExitStack() as stack:
            address = str(ray.get_runtime_context().gcs_address)
            stack.enter_context(HeadWatch(address, self._head_lost))
            if local:
                for node in self._nodes.all():
                    self._log_joined(node)
            else:
                self.proof = stack.enter_context(storage_proof(self._objects, self._sweep))
                called = NodeEvents(joined=self._joined, refused=self._refused, lost=self._lost)
                self._guard = NodeGuard(self.proof, called, self._nodes)
                self._guard.check_present()
                self._progress.say(self._progress.tally.nodes.sentence())
            self._started = True
            yield

    def look(self) -> None:
        """Detect changes of the cluster."""
        if self._guard is not None:
            self._guard.look()

    def leave_out(self, node_id: str, issue: ConfigIssue | None = None) -> bool:
        """Keep trials from a node from now on; return False on a single machine.

        Without an `issue` the reason is that the node does not see the storage of this run.
        """
        if self._guard is None:
            return False
        self._guard.refuse(node_id, issue)
        return True

    def reaches_storage(self) -> bool:
        """Return True if the driver itself can read its storage."""
        try:
            return self.proof is not None and sees(self._objects, self.proof)
        except Exception as error:
            if not is_storage_fault(error):
                raise
            return False

    def exclude_unusable(self, result: StepResult) -> None:
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
        self.leave_out(node_id)

    def _other_versions(self, node_id: str, host: str, error: str) -> None:
        self.leave_out(node_id, ConfigIssue("node", host, "the same software", error))

    def _unreachable(self, node_id: str, host: str, error: str) -> None:
        issue = ConfigIssue("node", host, "a node that reaches the storage of this run", error)
        if not self.reaches_storage() or not self.leave_out(node_id, issue):
            self._halt(f"{UNREACHABLE} ({host}: {error})")

    def _gpu_too_small(self, node_id: str, host: str, error: str) -> None:
        hint = f"{error}. Set resources.gpu to a larger share, or resources.gpu_type"
        issue = ConfigIssue("node", host, "a node with enough GPU memory", hint)
        if not self.leave_out(node_id, issue):
            self._halt(f"{error}. Set resources.gpu to a larger share")

    def _log_joined(self, node: Node) -> int:
        """Log a node that has joined; return its slots."""
        slots = slots_on(node, self._trials, self._resources)
        cpus, gpus = node.resources.get("CPU", 0.0), node.resources.get("GPU", 0.0)
        self._events.add(NodeJoined(**_place(node), cpus=cpus, gpus=gpus, slots=slots))
        return slots

    def _joined(self, node: Node) -> None:
        slots = self._log_joined(node)
        self._progress.tally.nodes.joined(node.node_id, node.name, slots)
        if self._started:
            self._progress.say(f"node {node.shown} joined: {slots_text(slots)}")

    def _refused(self, node: Node, issue: ConfigIssue) -> None:
        self._events.add(NodeRefused(**_place(node), reason=str(issue)))
        self._progress.tally.nodes.refused(node.node_id)
        self._progress.say(f"no trial runs on {node.shown}: {issue}")

    def _lost(self, node: Node) -> None:
        self._events.add(NodeLost(**_place(node)))
        self._progress.tally.nodes.lost(node.node_id)
        self._progress.say(f"node {node.shown} is lost; its trials continue on other nodes")


def _place(node: Node) -> dict[str, str]:
    """Return the fields that identify a node in events."""
    return {"node": node.name, "address": node.address, "node_id": node.node_id}
