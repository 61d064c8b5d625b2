"""Ray resources that a trial reserves, and the number of trials that fit on nodes at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from sweeps.definition import Resources, TrialSpec
from sweeps.definition.resources import gpu_units, trials_per_device
from sweeps.execution.cluster.nodes import Node

GPU_TYPE_LABEL = "ray.io/accelerator-type"
"""Node label that Ray sets from the name of the device, and that the cluster files set."""

LOOKAHEAD = 1.0
"""Released trials that wait for resources, per trial that has them. Tune passes a worker only to a
waiting trial, so without one every trial would start a new process. An unmet request of a
waiting trial also causes an autoscaler to add a node."""

FROM_ZERO = 8
"""Number of released trials while no node can run one. Only an autoscaler can add such a node, and
it adds as many at once as trials request. With one trial, every node would wait for the
previous one."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Resources that one trial reserves, all on one node."""

    cpu: float
    gpu: float = 0.0
    gpu_types: tuple[str, ...] = ()
    """Types of GPU that it may run on, in order of preference; empty allows any."""

    @property
    def amounts(self) -> dict[str, float]:
        """Return the amounts by Ray's names."""
        return {"CPU": self.cpu} | ({"GPU": self.gpu} if self.gpu else {})

    @property
    def text(self) -> str:
        """Return the demand in words: `4 CPUs and 0.25 GPUs (L4 or T4)`."""
        cpus = counted(self.cpu, "CPU")
        if not self.gpu:
            return cpus
        types = f" ({' or '.join(self.gpu_types)})" if self.gpu_types else ""
        return f"{cpus} and {counted(self.gpu, 'GPU')}{types}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """Resources that a node, or a node of a type that the autoscaler can add, offers to trials."""

    name: str
    """Name in words, such as `node worker-1` or `node type l4-spot`."""
    cpu: float = 0.0
    gpu: float = 0.0
    labels: Mapping[str, str] | None
    """Labels of the node; None if they are not known."""

    @property
    def gpu_type(self) -> str:
        """Return the label of its GPUs; empty without one."""
        return (self.labels or {}).get(GPU_TYPE_LABEL, "")

    def has_type_of(self, demand: Demand) -> bool:
        """Return True if the demand may run on GPUs of this type."""
        if not demand.gpu or not demand.gpu_types or self.labels is None:
            return True
        return self.gpu > 0 and self.gpu_type in demand.gpu_types

    def capacity(self, demand: Demand) -> int:
        """Return the number of trials with this demand that fit on the node at once."""
        if not self.has_type_of(demand):
            return 0
        fits = gpu_units(self.cpu) // gpu_units(demand.cpu)
        if 0 < demand.gpu < 1:  # a share is on one device
            fits = min(fits, int(self.gpu) * trials_per_device(demand.gpu))
        elif demand.gpu:
            fits = min(fits, int(self.gpu) // int(demand.gpu))
        return fits


def shapes_of(nodes: Iterable[Node]) -> tuple[NodeShape, ...]:
    """Return the resources of the alive nodes."""
    return tuple(
        NodeShape(
            name=f"node {node.shown}",
            cpu=node.resources.get("CPU", 0.0),
            gpu=node.resources.get("GPU", 0.0),
            labels=node.labels,
        )
        for node in nodes
        if node.alive
    )


def demand_of(trial: TrialSpec, resources: Resources) -> Demand:
    """Return the resources that Ray reserves for a trial. `resources.gpu` must be decided."""
    if resources.gpus is None:
        raise ValueError("resources.gpu is not decided")
    return Demand(
        cpu=float(trial.run.train.threads),
        gpu=resources.gpus,
        gpu_types=resources.gpu_types if resources.gpus else (),
    )


def distinct(demands: Iterable[Demand]) -> list[Demand]:
    """Return each demand once, in the order of first occurrence."""
    return list(dict.fromkeys(demands))


def cpus_for(trials: Sequence[TrialSpec], resources: Resources) -> int | None:
    """Return the CPUs that `max_concurrent` trials need; None without such a limit."""
    most = resources.max_concurrent
    return None if most is None else most * max(t.run.train.threads for t in trials)


def slots_on(node: Node, trials: Iterable[TrialSpec], resources: Resources) -> int:
    """Return the number of trials that run on a node at once, for the trials that fit best.

    A share of a GPU that is not decided yet counts as a whole GPU.
    """
    decided = resources if resources.gpus is not None else replace(resources, gpu=1)
    demands = distinct(demand_of(trial, decided) for trial in trials)
    return max((shape.capacity(d) for shape in shapes_of([node]) for d in demands), default=0)


@final
class Slots:
    """Number of trials that may be released: those that run and those that wait for a worker."""

    def __init__(self, resources: Resources, limited_cluster: bool) -> None:
        """`limited_cluster`: True if the cluster was started with no more CPUs than
        `max_concurrent` equal trials need. Otherwise such a limit leaves no waiting trials."""
        self._most = resources.max_concurrent
        self._limited_cluster = limited_cluster

    def count(self, demands: Sequence[Demand], nodes: Sequence[NodeShape]) -> int:
        """Return the number for trials with these demands, on these nodes."""
        fits = max(sum(node.capacity(demand) for node in nodes) for demand in demands)
        if fits == 0:
            return FROM_ZERO if self._most is None else min(FROM_ZERO, self._most)
        waiting = max(1, round(LOOKAHEAD * fits))
        limited = self._limited_cluster and len(demands) == 1
        released = fits + waiting
        return released if self._most is None or limited else min(released, self._most)


def counted(amount: float, name: str) -> str:
    """Return an amount in words: `1 CPU`, `0.25 GPUs`."""
    return f"{amount:g} {name}" if amount == 1 else f"{amount:g} {name}s"
