"""Resources that trials reserve, number that fit on nodes, and number that are released."""

from __future__ import annotations

import pytest

from sweeps.definition import Resources
from sweeps.execution.cluster.nodes import Node
from sweeps.execution.resources.trial_resources import (
    GPU_TYPE_LABEL,
    Demand,
    NodeShape,
    Slots,
    demand_of,
    distinct,
    shapes_of,
)
from tests.sweeps.stages.small import small_trial


def nodes(*cpus: float) -> list[NodeShape]:
    return [NodeShape(name=f"node {i}", cpu=n, labels={}) for i, n in enumerate(cpus)]


@pytest.mark.parametrize(
    ("threads", "most", "limited", "cpus", "slots"),
    [
        ([1], None, True, [4], 8),  # four that run, four that wait for their workers
        ([2], None, True, [4], 4),
        ([4, 1], None, True, [4], 8),  # as many as could run of the smallest
        ([1], 2, True, [2], 4),  # the cluster itself was limited
        ([4, 1], 1, True, [4], 1),
        ([1], 3, False, [8], 3),
        ([1], None, False, [0], 8),  # an autoscaler adds nodes for trials that wait
        ([1], None, False, [], 8),
        ([1], 2, False, [0], 2),  # also where there is a limit
        ([1], 20, False, [], 8),
        ([1], 8, False, [2], 4),
        ([3], None, False, [4, 4], 4),  # one fits on each, although there are 8 CPUs together
        ([8], None, False, [4, 4], 8),  # no node holds one: as if there was none
    ],
)
def test_how_many_trials_are_released(
    threads: list[int], most: int | None, limited: bool, cpus: list[float], slots: int
) -> None:
    demands = [Demand(cpu=float(n)) for n in threads]
    found = Slots(Resources(max_concurrent=most), limited_cluster=limited)
    assert found.count(demands, nodes(*cpus)) == slots


@pytest.mark.parametrize(
    ("gpu", "gpus", "cpu", "fits"),
    [
        (0.25, 4, 64, 16),
        (0.25, 4, 6, 6),  # the CPUs are used up first
        (0.1, 1, 64, 10),  # in floating point, 1 // 0.1 is 9
        (0.4, 2, 64, 4),  # a share lies on one device
        (0.3333, 1, 64, 3),
        (1 / 6, 1, 64, 6),  # Ray cuts off digits: 0.1666
        (1, 4, 64, 4),
        (2, 3, 64, 1),
        (0.5, 0, 64, 0),
    ],
)
def test_how_many_fit_on_a_node(gpu: float, gpus: float, cpu: float, fits: int) -> None:
    shape = NodeShape(name="node", cpu=cpu, gpu=gpus, labels={})
    assert shape.capacity(Demand(cpu=1, gpu=gpu)) == fits


def test_each_demand_counts_once() -> None:
    one, two = Demand(cpu=1), Demand(cpu=2)
    assert distinct([one, two, Demand(cpu=1)]) == [one, two]


def test_what_a_trial_reserves() -> None:
    trial = small_trial(train={"threads": 2})
    found = demand_of(trial, Resources(gpu=0.5, gpu_type="L4"))
    assert found == Demand(cpu=2, gpu=0.5, gpu_types=("L4",))
    assert found.amounts == {"CPU": 2.0, "GPU": 0.5}
    assert found.text == "2 CPUs and 0.5 GPUs (L4)"
    assert demand_of(trial, Resources()).amounts == {"CPU": 2.0}
    assert demand_of(trial, Resources()).text == "2 CPUs"


def test_a_share_that_is_not_decided_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="not decided"):
        demand_of(small_trial(), Resources(gpu="auto"))


def test_what_nodes_offer() -> None:
    here = Node(
        node_id="a",
        name="worker",
        address="10.0.0.5",
        alive=True,
        resources={"CPU": 4.0, "GPU": 1.0, "memory": 1e9},
        labels={GPU_TYPE_LABEL: "L4"},
    )
    lost = Node(node_id="b", name="b", address="b", alive=False, resources={"CPU": 4.0})
    (found,) = shapes_of([here, lost])
    assert found.name == "node worker (10.0.0.5)"
    assert (found.cpu, found.gpu, found.gpu_type) == (4.0, 1.0, "L4")
