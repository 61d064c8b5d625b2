"""Trials that no single node holds: refused where that is certain, said where it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from clmethods.config import InvalidConfigError
from sweeps.execution.backlog import Backlog
from sweeps.execution.cluster.connection import ray_cluster
from sweeps.execution.cluster.node_types import Growth, NodeTypes, node_types
from sweeps.execution.cluster.nodes import Nodes
from sweeps.execution.executor import SweepExecutor
from sweeps.execution.resources.impossible_demands import judge
from sweeps.execution.resources.trial_resources import GPU_TYPE_LABEL, Demand, NodeShape, shapes_of
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.execution.clusters import Host, cluster_of
from tests.sweeps.stages.small import small_sweep


def node(name: str, cpu: float, gpu: float = 0, gpu_type: str = "") -> NodeShape:
    labels = {GPU_TYPE_LABEL: gpu_type} if gpu_type else {}
    return NodeShape(name=name, cpu=cpu, gpu=gpu, labels=labels)


SMALL, LARGE = node("node a", 4), node("node b", 4)
WITH_GPU = node("node g", 2, 1, "L4")


def listed(*shapes: NodeShape, reads_labels: bool = True) -> NodeTypes:
    return NodeTypes(growth=Growth.LISTED, shapes=shapes, reads_labels=reads_labels)


@pytest.mark.parametrize(
    ("demand", "nodes", "messages"),
    [
        (  # the sum over the cluster would do
            Demand(cpu=8),
            [SMALL, LARGE],
            ["train.threads: got 8, allowed: at most the 4 CPUs of the largest node of"],
        ),
        (
            Demand(cpu=1, gpu=1),
            [SMALL],
            ["resources.gpu: got 1, allowed: at most the 0 GPUs of this cluster. Set"],
        ),
        (
            Demand(cpu=1, gpu=2),
            [WITH_GPU],
            ["resources.gpu: got 2, allowed: at most the 1 GPU of the largest node of"],
        ),
        (  # one node has the CPUs, the other the GPU
            Demand(cpu=4, gpu=0.5),
            [SMALL, WITH_GPU],
            ["train.threads: got 4, allowed: at most the 2 CPUs of the largest node with 0.5"],
        ),
        (
            Demand(cpu=1, gpu=1, gpu_types=("l4",)),
            [SMALL, WITH_GPU],
            ["resources.gpu_type: got 'l4', allowed: types of this cluster: ['L4']. Did you mean"],
        ),
        (
            Demand(cpu=1, gpu=1, gpu_types=("H100", "A100")),
            [node("node g", 4, 1)],
            [
                "resources.gpu_type: got ['H100', 'A100'], allowed: to be left out, as no node of "
                "this cluster has the label ray.io/accelerator-type. Or label the nodes: `labels: "
                "{ray.io/accelerator-type: H100}` of a node type in the cluster file, or "
                "`ray start --labels ray.io/accelerator-type=H100`."
            ],
        ),
        (  # a type that is labeled on nodes without a GPU does not count
            Demand(cpu=1, gpu=1, gpu_types=("L4",)),
            [node("node a", 4, 0, "L4"), node("node g", 4, 1, "T4")],
            ["resources.gpu_type: got 'L4', allowed: types of this cluster: ['T4']"],
        ),
        (
            Demand(cpu=16, gpu=2),
            [SMALL, WITH_GPU],
            ["train.threads: got 16, allowed: at most the 4", "resources.gpu: got 2, allowed: at"],
        ),
        (Demand(cpu=4), [], ["train.threads: got 4, allowed: at most the 0 CPUs of this cluster"]),
    ],
)
def test_what_no_node_type_holds_is_refused(
    demand: Demand, nodes: Sequence[NodeShape], messages: Sequence[str]
) -> None:
    """The verdict is the same for existing nodes and for nodes that may be added."""
    for verdict in (judge([demand], nodes, listed()), judge([demand], [], listed(*nodes))):
        issues = [str(issue) for issue in verdict.issues]
        assert len(issues) == len(messages)
        for issue, message in zip(issues, messages, strict=True):
            assert issue.startswith(message)
        assert verdict.sentences == ()


def test_all_demands_are_judged_and_each_issue_is_reported_once() -> None:
    demands = [Demand(cpu=8), Demand(cpu=1), Demand(cpu=16), Demand(cpu=8, gpu=1)]
    issues = judge(demands, [SMALL], listed()).issues
    found = [(issue.path, issue.value) for issue in issues]
    assert found == [("train.threads", 8), ("train.threads", 16), ("resources.gpu", 1)]


@pytest.mark.parametrize("growth", [Growth.NONE, Growth.UNKNOWN])
def test_where_nodes_may_join_that_nobody_knows_a_sentence_says_what_is_waited_for(
    growth: Growth,
) -> None:
    demand = Demand(cpu=1, gpu=0.5, gpu_types=("L4", "T4"))
    verdict = judge([demand, Demand(cpu=1)], [SMALL], NodeTypes(growth=growth))
    assert verdict.issues == ()
    assert verdict.sentences == (
        "a trial needs 1 CPU and 0.5 GPUs (L4 or T4) on one node, and no node of this cluster has "
        "that (resources.gpu: at most the 0 GPUs of this cluster): it waits until such a node "
        "joins",
    )


def test_a_machine_is_fixed() -> None:
    (issue,) = judge([Demand(cpu=8)], [SMALL], None).issues
    assert str(issue).startswith("train.threads: got 8, allowed: at most the 4 CPUs of this mach")


def test_a_busy_node_type_is_enough() -> None:
    assert judge([Demand(cpu=4)], [], listed(SMALL)).issues == ()


@pytest.mark.parametrize(
    ("shapes", "refused"),
    [([WITH_GPU, node("node type t", 4, 1, "T4")], True), ([WITH_GPU, SMALL], False)],
)
def test_an_autoscaler_that_does_not_read_labels_would_add_other_gpus(
    shapes: Sequence[NodeShape], refused: bool
) -> None:
    demand = Demand(cpu=1, gpu=1, gpu_types=("L4",))
    assert judge([demand], shapes, listed(*shapes)).issues == ()
    issues = judge([demand], shapes, listed(*shapes, reads_labels=False)).issues
    assert bool(issues) == refused
    for issue in issues:
        assert "version 1 of Ray's autoscaler does not read labels" in str(issue)
        assert "RAY_UP_enable_autoscaler_v2" in str(issue)


@pytest.mark.slow
def test_two_nodes_of_four_cpus_do_not_hold_eight_threads() -> None:
    """On a cluster without an autoscaler, where somebody may start a larger node."""
    with cluster_of([Host(cpus=4), Host(cpus=4)]) as address, ray_cluster(address):
        types = node_types(Nodes())
        assert types == NodeTypes(growth=Growth.NONE)
        verdict = judge([Demand(cpu=8)], shapes_of(Nodes().all()), types)
        assert verdict.issues == ()
        (sentence,) = verdict.sentences
        assert sentence.startswith("a trial needs 8 CPUs on one node, and no node of this cluster")
        assert "at most the 4 CPUs of the largest node of this cluster (node " in sentence


def test_a_step_of_a_run_refuses_before_it_starts_anything(environment: None) -> None:
    """Ray itself would let it wait for ever."""
    refused: list[tuple[dict[str, Any], str]] = [
        ({"resources": {"gpu": 1}}, "resources.gpu: got 1.0, allowed: at most the 0 GPUs of this"),
        ({"train": {"threads": 99}}, "train.threads: got 99.0, allowed: at most the 2 CPUs of th"),
    ]
    with ray_cluster(None, cpus=2):
        for fields, constraint in refused:
            backlog = Backlog(small_sweep(**fields), StageStore(open_storage("memory://")))
            job = SweepExecutor(backlog, backlog.take())
            reservations = job._reserved()
            with pytest.raises(InvalidConfigError, match=re.escape(constraint)):
                reservations.begin(job.todo)
