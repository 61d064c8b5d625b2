"""Node types of an autoscaler, as a driver finds them: with Ray's real autoscalers, both versions.

Their nodes are processes of this machine, by Ray's own provider for tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from sweeps.execution.cluster import node_types as module
from sweeps.execution.cluster.connection import ray_cluster
from sweeps.execution.cluster.node_types import (
    Growth,
    InfeasibleWatch,
    NodeTypes,
    _from_fields,
    infeasible,
    monitor_fields,
    node_types,
)
from sweeps.execution.cluster.nodes import Nodes, on_node
from sweeps.execution.resources.impossible_demands import judge
from sweeps.execution.resources.trial_resources import Demand, NodeShape, shapes_of
from tests.sweeps.execution.clusters import Host, autoscaling_cluster
from tests.sweeps.execution.drivers import run_to_end, wait_until, write_sweep
from tests.sweeps.stages.small import DOCUMENT

TYPES = {"l4-spot": Host(cpus=4, gpus=1, gpu_type="L4"), "big": Host(cpus=8)}


@dataclass(frozen=True)
class Running:
    address: str
    version: int


@pytest.fixture(scope="module", params=[1, 2])
def autoscaler(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    version = int(request.param)
    folder = tmp_path_factory.mktemp("autoscaler")
    with (
        autoscaling_cluster(folder, TYPES, version, port=26480 + version) as address,
        ray_cluster(address),
    ):
        yield Running(address, version)


def test_the_types_of_a_cluster_that_has_no_nodes_yet_are_known(autoscaler: Running) -> None:
    found = node_types(Nodes())
    assert found == NodeTypes(
        growth=Growth.LISTED,
        shapes=(
            NodeShape(name="node type l4-spot", cpu=4, gpu=1, labels=TYPES["l4-spot"].labels),
            NodeShape(name="node type big", cpu=8, labels={}),
        ),
        reads_labels=autoscaler.version == 2,
    )
    verdict = judge([Demand(cpu=16), Demand(cpu=4, gpu=1)], shapes_of(Nodes().all()), found)
    assert [str(issue) for issue in verdict.issues] == [
        "train.threads: got 16, allowed: at most the 8 CPUs of the largest node of this cluster "
        "(node type big). Lower train.threads, or use a node type with more CPUs."
    ]


def test_a_driver_on_another_node_asks_the_head(
    autoscaler: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = node_types(Nodes())
    elsewhere = ray.runtime_context.RuntimeContext
    monkeypatch.setattr(elsewhere, "get_node_id", lambda self: "of another node")
    asked: list[str] = []
    plain = on_node
    monkeypatch.setattr(
        module, "on_node", lambda function, node: asked.append(node) or plain(function, node)
    )
    assert node_types(Nodes()) == here
    assert len(asked) == 1


def test_version_2_reports_what_it_cannot_meet(autoscaler: Running) -> None:
    """The only source where the types are out of sight, as on Kubernetes."""
    too_large = Demand(cpu=16)
    group = placement_group([too_large.amounts])
    if autoscaler.version == 2:
        wait_until(lambda: infeasible([too_large, Demand(cpu=8)]) == [too_large])
        now = [0.0]
        watch = InfeasibleWatch(lambda: now[0])
        unknown = NodeTypes(growth=Growth.UNKNOWN)
        (sentence,) = watch.look(unknown, [], [too_large])
        assert "needs 16 CPUs on one node" in sentence
        now[0] = module.LOOKS_EVERY_S
        assert watch.look(unknown, [], [too_large]) == []  # said once
    else:
        assert infeasible([too_large]) == []
    remove_placement_group(group)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpu": 2}, "resources.gpu: got 2.0, allowed: at most the 1 GPU of the largest node"),
        ({"gpu": 1, "gpu_type": "A100"}, "got 'A100', allowed: types of this cluster: ['L4']"),
    ],
)
def test_a_run_that_no_node_type_holds_ends_at_once(
    autoscaler: Running, tmp_path: Path, resources: dict[str, Any], message: str
) -> None:
    document = {**DOCUMENT, "resources": resources, "train": {**DOCUMENT["train"], "threads": 16}}
    file = write_sweep(tmp_path / "sweep.yaml", document)
    secret = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    done = run_to_end(file, tmp_path / "runs", "--address", autoscaler.address, **secret)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "train.threads: got 16.0, allowed: at most the 8 CPUs" in done.stderr  # both at once
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("autoscaler", [pytest.param(1, marks=pytest.mark.slow), 2], indirect=True)
def test_a_sweep_starts_nodes_of_the_type_that_it_asks_for(
    autoscaler: Running, tmp_path: Path
) -> None:
    """With version 1 only where every node type with a GPU is of that type, as here."""
    document = {**DOCUMENT, "resources": {"gpu": 0.5, "gpu_type": ["A100", "L4"]}}
    file = write_sweep(tmp_path / "sweep.yaml", document)
    secret = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    done = run_to_end(file, tmp_path / "runs", "--address", autoscaler.address, **secret)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 trials finished" in done.stdout


def test_node_groups_that_a_managed_service_publishes_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private.state import state
    from ray.core.generated.autoscaler_pb2 import ClusterConfig

    config = ClusterConfig()
    config.node_group_configs.add(name="a", resources={"CPU": 4, "GPU": 1}, max_count=-1)
    config.node_group_configs.add(name="none of these", resources={"CPU": 64}, max_count=0)
    monkeypatch.setattr(state, "get_cluster_config", lambda: config)
    found = node_types(Nodes())
    assert found.shapes == (NodeShape(name="node type a", cpu=4, gpu=1, labels=None),)
    (shape,) = found.shapes
    assert shape.capacity(Demand(cpu=1, gpu=1, gpu_types=("L4",))) == 1  # labels are not known


@pytest.mark.parametrize(
    ("types", "growth"),
    [
        (None, Growth.UNKNOWN),  # no monitor, or a file that cannot be read
        ([], Growth.NONE),
        ([{"name": "ssh", "resources": {}, "labels": None, "max_workers": 2}], Growth.UNKNOWN),
        ([{"name": "a", "resources": {"CPU": 1}, "labels": None, "max_workers": 2}], "listed"),
    ],
)
def test_what_the_monitor_says(types: list[dict[str, Any]] | None, growth: Growth) -> None:
    assert _from_fields({"monitor": True, "version": 2, "types": types}).growth == growth


@pytest.mark.parametrize(
    ("text", "types"),
    [
        (
            "available_node_types: {head: {resources: {CPU: 1}}, w: {resources: {CPU: 2}}}\n"
            "head_node_type: head\n",
            [("head", 0), ("w", 1)],
        ),
        ("available_node_types: [", None),
        ("cluster_name: x", None),
        (None, None),
    ],
)
def test_the_file_of_a_monitor_is_read(
    tmp_path: Path, text: str | None, types: list[tuple[str, int]] | None
) -> None:
    """A stand-in for the monitor's process, with its arguments; no other process is looked at."""
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    script = tmp_path / "ray" / "autoscaler" / "v2" / "monitor.py"
    script.parent.mkdir(parents=True)
    script.write_text("import sys\nprint('up', flush=True)\nsys.stdin.read()\n")
    arguments = [f"--logs-dir=/tmp/ray/session_of_{tmp_path.name}/logs"]
    arguments += [f"--autoscaling-config={file}"]
    monitor = subprocess.Popen(
        [sys.executable, str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert monitor.stdout is not None
        monitor.stdout.readline()
        found = monitor_fields(f"session_of_{tmp_path.name}")
        assert (found["monitor"], found["version"]) == (True, 2)
        named = found["types"]
        assert (named and [(t["name"], t["max_workers"]) for t in named]) == types
        assert not monitor_fields("session_of_somebody_else")["monitor"]
    finally:
        monitor.kill()
        monitor.wait()
