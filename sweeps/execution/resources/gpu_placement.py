"""Placement groups of trials: shares of GPUs, on GPUs of the preferred type.

A placement group of Ray 2.60 takes a label selector for each bundle, but no order of preference:
`fallback_strategy` exists only for tasks and actors. Therefore the preferred type is tried first.
The group that waits for resources accepts every type of the list. This also lets the autoscaler
choose among the node types (by their `priority`) and change to another one that is available.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, final

from ray import tune
from ray.util.placement_group import placement_group, remove_placement_group

from sweeps.execution.cluster.nodes import Nodes
from sweeps.execution.resources.trial_resources import GPU_TYPE_LABEL, Demand, NodeShape, shapes_of

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

RESERVED_WITHIN_S = 1.0
"""Seconds that a group may take to reserve resources that were just free."""


def selector(gpu_types: tuple[str, ...]) -> dict[str, str]:
    """Return Ray's label selector for any of these types; an empty result selects every node."""
    if not gpu_types:
        return {}
    first, *others = gpu_types
    return {GPU_TYPE_LABEL: f"in({','.join(gpu_types)})" if others else first}


def placement_of(demand: Demand) -> tune.PlacementGroupFactory:
    """Return Tune's placement request for a trial. Equal demands share their workers."""
    options: dict[str, object] = {}
    if demand.gpu_types:
        options["bundle_label_selector"] = [selector(demand.gpu_types)]
    if len(demand.gpu_types) < 2:
        return tune.PlacementGroupFactory([demand.amounts], **options)
    return PreferredTypes(demand, **options)


@final
class PreferredTypes(tune.PlacementGroupFactory):  # type: ignore[misc]  # ray is untyped
    """Requests a group on the first type with free resources, else on any type of the list."""

    def __init__(self, demand: Demand, **options: object) -> None:
        super().__init__([demand.amounts], **options)
        self._demand = demand

    def to_placement_group(self) -> PlacementGroup:
        """Return the placement group; Tune calls this whenever a trial needs a worker."""
        free = _free_shapes()
        for gpu_type in self._demand.gpu_types:
            demand = Demand(cpu=self._demand.cpu, gpu=self._demand.gpu, gpu_types=(gpu_type,))
            if not any(_may_fit(shape, demand) for shape in free):
                continue
            group = placement_group(
                [demand.amounts], bundle_label_selector=[selector(demand.gpu_types)]
            )
            if group.wait(RESERVED_WITHIN_S):
                return group
            remove_placement_group(group)  # the free shares are on several devices
        return super().to_placement_group()


def _may_fit(free: NodeShape, demand: Demand) -> bool:
    """Return True if the amounts are free; shares of several devices are added up."""
    return free.has_type_of(demand) and free.gpu >= demand.gpu and free.cpu >= demand.cpu


def _free_shapes() -> list[NodeShape]:
    """Return the free resources of the nodes."""
    from ray._private.state import state

    left = state.available_resources_per_node()
    nodes = [
        replace(node, resources=left.get(node.node_id, {})) for node in Nodes().all() if node.alive
    ]
    return list(shapes_of(nodes))
