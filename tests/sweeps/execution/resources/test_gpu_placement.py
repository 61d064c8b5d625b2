"""Shares and types of GPUs, with GPUs that do not exist: Ray places by number and label only."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle, tune

from sweeps.execution.cluster.connection import ray_cluster
from sweeps.execution.resources.gpu_placement import placement_of, selector
from sweeps.execution.resources.trial_resources import GPU_TYPE_LABEL, Demand
from sweeps.execution.tune.callback import NoTuneOutput
from sweeps.execution.tune.param_space import space, trial_id
from sweeps.execution.tune.scheduler import StageScheduler
from sweeps.execution.worker.trainable import resources_of
from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import LeaseTable
from sweeps.storage import open_storage
from tests.sweeps.execution.clusters import Host, cluster_of

TOGETHER_WITHIN_S = 120.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Four GPUs on two nodes of different types, and CPUs for all that share them."""
    hosts = [Host(cpus=8, gpus=2, gpu_type="L4"), Host(cpus=8, gpus=2, gpu_type="T4")]
    with cluster_of(hosts) as address, ray_cluster(address):
        yield


class Guest(tune.Trainable):
    """Writes down what it sees of GPUs, and waits until as many others as it knows are there."""

    def setup(self, config: dict[str, Any]) -> None:
        self._message = config["message"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._message = new_config["message"]
        return True

    def step(self) -> dict[str, Any]:
        folder, others = Path(self._message["folder"]), self._message["others"]
        context = ray.get_runtime_context()
        seen = f"{os.environ['CUDA_VISIBLE_DEVICES']} {context.get_node_id()} {os.getpid()}"
        (folder / self._message["name"]).write_text(seen)
        deadline = time.monotonic() + TOGETHER_WITHIN_S
        while len(list(folder.iterdir())) < others and time.monotonic() < deadline:
            time.sleep(0.1)
        together = len(list(folder.iterdir()))
        return {"outcome": "trained", "position": 1, "done": True, "together": together}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        return None


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


class Visit:
    """Devices, node and process that one actor reported."""

    def __init__(self, text: str, types: dict[str, str]) -> None:
        devices, node, pid = text.rsplit(" ", 2)
        self.devices, self.gpu_type, self.pid = devices, types[node], pid


def visits(
    tmp_path: Path,
    trials: int,
    gpu: float,
    gpu_types: Sequence[str] = (),
    others: int = 1,
    slots: int = 16,
) -> list[Visit]:
    """Run guests under our scheduler, with the resources of a trial."""
    folder = tmp_path / "seen"
    folder.mkdir()
    names = [f"g{i}" for i in range(trials)]
    scheduler = StageScheduler(
        {name: [f"{name}0"] for name in names},
        lambda trial, key: False,
        LeaseWatch(LeaseTable(open_storage("memory://"))),
        "driver",
        lambda: slots,
    )
    demand = {"CPU": 1.0} | ({"GPU": gpu} if gpu else {})
    message = {"folder": str(folder), "others": others, "demand": demand}
    tuner = tune.Tuner(
        tune.with_resources(Guest, resources_of),
        param_space=space(
            {name: name for name in names},
            lambda name: {**message, "gpu_types": list(gpu_types), "name": name},
        ),
        tune_config=tune.TuneConfig(
            scheduler=scheduler, reuse_actors=True, trial_dirname_creator=trial_id
        ),
        run_config=tune.RunConfig(
            name="guests", storage_path=str(tmp_path), verbose=0, callbacks=[NoTuneOutput()]
        ),
    )
    results = tuner.fit()
    assert not results.errors
    assert all(result.metrics["together"] >= others for result in results)
    types = {n["NodeID"]: n["Labels"].get(GPU_TYPE_LABEL, "") for n in ray.nodes()}
    return [Visit((folder / name).read_text(), types) for name in names]


@pytest.mark.parametrize("sharing", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_shares_of_four_gpus_run_at_once(cluster: None, tmp_path: Path, sharing: int) -> None:
    """Each worker sees exactly one device, and as many as the share allows are on it."""
    seen = visits(tmp_path, trials=4 * sharing, gpu=1 / sharing, others=4 * sharing)
    assert len({visit.pid for visit in seen}) == 4 * sharing
    shared = Counter((visit.gpu_type, visit.devices) for visit in seen)
    assert shared == {(kind, device): sharing for kind in ("L4", "T4") for device in ("0", "1")}


def test_a_trial_without_a_gpu_sees_none(cluster: None, tmp_path: Path) -> None:
    assert [visit.devices for visit in visits(tmp_path, trials=2, gpu=0)] == ["", ""]


def test_a_trial_with_two_gpus_sees_both(cluster: None, tmp_path: Path) -> None:
    assert [visit.devices for visit in visits(tmp_path, trials=1, gpu=2)] == ["0,1"]


@pytest.mark.parametrize("gpu_type", [pytest.param("L4", marks=pytest.mark.slow), "T4"])
def test_trials_run_on_the_type_that_is_asked_for(
    cluster: None, tmp_path: Path, gpu_type: str
) -> None:
    seen = visits(tmp_path, trials=3, gpu=1, gpu_types=[gpu_type])
    assert {visit.gpu_type for visit in seen} == {gpu_type}


@pytest.mark.parametrize("first", [pytest.param("L4", marks=pytest.mark.slow), "T4"])
def test_the_preferred_type_comes_first(cluster: None, tmp_path: Path, first: str) -> None:
    second = "T4" if first == "L4" else "L4"
    seen = visits(tmp_path, trials=2, gpu=1, gpu_types=[first, second], others=2)
    assert Counter(visit.gpu_type for visit in seen) == {first: 2}


def test_the_next_type_is_used_when_the_preferred_one_is_full(
    cluster: None, tmp_path: Path
) -> None:
    """And one worker serves trials on both: the request is the same."""
    seen = visits(tmp_path, trials=8, gpu=1, gpu_types=["H100", "T4", "L4"], others=4, slots=8)
    assert Counter(visit.gpu_type for visit in seen[:4]) == {"T4": 2, "L4": 2}
    assert len({visit.pid for visit in seen}) == 4


def test_shares_that_lie_on_several_devices_are_not_taken_for_one(cluster: None) -> None:
    """Two halves of the preferred type are free, on two devices; a trial needs three quarters."""
    preferred = Demand(cpu=1, gpu=0.5, gpu_types=("L4",))
    held = [placement_of(preferred).to_placement_group() for _ in range(3)]
    ray.get([group.ready() for group in held])
    ray.util.remove_placement_group(held.pop(0))  # the first two shared a device
    demand = Demand(cpu=1, gpu=0.75, gpu_types=("L4", "T4"))
    started = time.monotonic()
    group = placement_of(demand).to_placement_group()
    assert group.wait(10)
    assert time.monotonic() - started < 10
    (node,) = ray.util.placement_group_table(group)["bundles_to_node_id"].values()
    labels = {n["NodeID"]: n["Labels"] for n in ray.nodes()}
    assert labels[node][GPU_TYPE_LABEL] == "T4"
    for each in [*held, group]:
        ray.util.remove_placement_group(each)


def test_requests_are_equal_where_demands_are() -> None:
    """Tune hands a worker on to trials with an equal request only."""
    one = placement_of(Demand(cpu=1, gpu=0.5, gpu_types=("L4", "T4")))
    assert one == placement_of(Demand(cpu=1, gpu=0.5, gpu_types=("L4", "T4")))
    assert hash(one) == hash(placement_of(Demand(cpu=1, gpu=0.5, gpu_types=("L4", "T4"))))
    assert one != placement_of(Demand(cpu=1, gpu=0.5, gpu_types=("L4",)))
    again = cloudpickle.loads(cloudpickle.dumps(one))
    assert again == one
    assert selector(("L4",)) == {GPU_TYPE_LABEL: "L4"}
    assert selector(("L4", "T4")) == {GPU_TYPE_LABEL: "in(L4,T4)"}
    assert selector(()) == {}
