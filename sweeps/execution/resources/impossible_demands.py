"""Refusal of trials that no node can hold, even if all its resources are free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import final

from clmethods.config import ConfigIssue
from clmethods.errors import nearest
from sweeps.execution.cluster.node_types import Growth, NodeTypes
from sweeps.execution.resources.trial_resources import GPU_TYPE_LABEL, Demand, NodeShape, counted

_MACHINE, _CLUSTER = "this machine", "this cluster"

_AUTOSCALER_V2 = (
    "Start the cluster with version 2 (unset RAY_UP_enable_autoscaler_v2, remove "
    "RAY_enable_autoscaler_v2=0 from the start command of the head, then `ray up`), or "
    "leave only node types with this GPU in the cluster file."
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Messages about demands that no node holds."""

    issues: tuple[ConfigIssue, ...] = ()
    """Reasons to refuse the sweep: no node that can join would help."""
    sentences: tuple[str, ...] = ()
    """Descriptions of the trials that wait for a node that may join."""


def judge(
    demands: Sequence[Demand], present: Sequence[NodeShape], types: NodeTypes | None
) -> Verdict:
    """Compare demands with single nodes: those that are alive, and those that may join.

    `types` is None on a single machine, which no node can join.
    """
    shapes = [*present, *(types.shapes if types else ())]
    place = _MACHINE if types is None else _CLUSTER
    found: list[ConfigIssue] = []
    sentences: list[str] = []
    for demand in demands:
        if any(shape.capacity(demand) for shape in shapes):
            continue
        issues = _reasons(demand, shapes, place)
        found += issues
        reasons = "; ".join(f"{issue.path}: {issue.allowed}" for issue in issues)
        sentences.append(
            f"a trial needs {demand.text} on one node, and no node of this cluster has that "
            f"({reasons}): it waits until such a node joins"
        )
    if types is not None and not types.reads_labels:
        found += _unread_labels(demands, types)
    if types is None or types.growth is Growth.LISTED:
        return Verdict(issues=tuple({str(issue): issue for issue in found}.values()))
    return Verdict(sentences=tuple(sentences))


def _reasons(demand: Demand, shapes: Sequence[NodeShape], place: str) -> list[ConfigIssue]:
    """Return the reasons why no shape holds the demand: each single amount that is too large."""
    suited = [shape for shape in shapes if shape.has_type_of(demand)]
    found: list[ConfigIssue] = []
    most_cpus = _largest(shapes, lambda shape: shape.cpu)
    if most_cpus is None or most_cpus.cpu < demand.cpu:
        found.append(_too_few("train.threads", demand.cpu, "CPU", most_cpus, place))
    if demand.gpu and not suited and any(shape.gpu for shape in shapes):
        found.append(_missing_type(demand, shapes, place))
    elif demand.gpu:
        most_gpus = _largest(suited, lambda shape: shape.gpu)
        if most_gpus is None or most_gpus.gpu < demand.gpu:
            found.append(_too_few("resources.gpu", demand.gpu, "GPU", most_gpus, place))
    return found or [_not_together(demand, suited)]


def _largest(
    shapes: Iterable[NodeShape], amount: Callable[[NodeShape], float]
) -> NodeShape | None:
    return max(shapes, key=amount, default=None)


def _too_few(
    field: str, value: float, kind: str, most: NodeShape | None, place: str
) -> ConfigIssue:
    amount = 0.0 if most is None else most.cpu if kind == "CPU" else most.gpu
    owner = place
    if place == _CLUSTER and most is not None and amount:
        owner = f"the largest node of {place} ({most.name})"
    if field == "train.threads":
        hint = "Lower train.threads, or use a node type with more CPUs."
    elif amount:
        hint = "A trial trains on one GPU: set resources.gpu to 1 or less."
    else:
        hint = "Set resources.gpu to 0 and train.device to cpu, or use a node type with a GPU."
    return ConfigIssue(field, value, f"at most the {counted(amount, kind)} of {owner}", hint)


def _missing_type(demand: Demand, shapes: Sequence[NodeShape], place: str) -> ConfigIssue:
    label = f"{GPU_TYPE_LABEL}: {demand.gpu_types[0]}"
    offered = sorted({shape.gpu_type for shape in shapes if shape.gpu and shape.gpu_type})
    value = demand.gpu_types[0] if len(demand.gpu_types) == 1 else list(demand.gpu_types)
    hint = next(filter(None, (_similar(name, offered) for name in demand.gpu_types)), "")
    if offered:
        return ConfigIssue("resources.gpu_type", value, f"types of {place}: {offered}", hint)
    return ConfigIssue(
        "resources.gpu_type",
        value,
        f"to be left out, as no node of {place} has the label {GPU_TYPE_LABEL}",
        f"Or label the nodes: `labels: {{{label}}}` of a node type in the cluster file, or "
        f"`ray start --labels {label.replace(': ', '=')}`.",
    )


def _similar(name: str, offered: Sequence[str]) -> str:
    """Return a sentence with the closest type, which differs only in spelling."""
    same = [other for other in offered if other.lower() == name.lower()]
    return f"Did you mean {same[0]!r}?" if same else nearest(name, offered)


def _not_together(demand: Demand, suited: Sequence[NodeShape]) -> ConfigIssue:
    """Return the issue of amounts that are all available, but on different nodes."""
    gpu = [shape for shape in suited if shape.gpu >= demand.gpu]
    best = max(gpu, key=lambda shape: shape.cpu)
    return ConfigIssue(
        "train.threads",
        demand.cpu,
        f"at most the {counted(best.cpu, 'CPU')} of the largest node with "
        f"{counted(demand.gpu, 'GPU')} ({best.name})",
        "Lower train.threads, or use a node type that has more CPUs beside its GPU.",
    )


def _unread_labels(demands: Sequence[Demand], types: NodeTypes) -> list[ConfigIssue]:
    """Return issues of demands for which the autoscaler may add nodes with other GPUs."""
    constraint = "to be left out, as version 1 of Ray's autoscaler does not read labels"
    return [
        ConfigIssue("resources.gpu_type", list(demand.gpu_types), constraint, _AUTOSCALER_V2)
        for demand in demands
        if any(shape.gpu and not shape.has_type_of(demand) for shape in types.shapes)
    ]
