"""A local Ray cluster: authenticated, limited, quiet; and trials whose workers die in it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle, tune
from ray.tune.experiment import Trial

from sweeps.execution.cluster.connection import SIZE_HOLDS_S, ClusterSize
from sweeps.execution.cluster.nodes import Node, Nodes
from sweeps.execution.tune.callback import NoTuneOutput
from sweeps.execution.tune.param_space import space, trial_id
from sweeps.execution.tune.scheduler import StageScheduler
from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import LeaseTable
from sweeps.storage import open_storage
from tests.sweeps.execution.clusters import one_slot


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with one_slot():
        yield


def test_it_is_authenticated_with_a_token_of_its_own(cluster: None) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


STRANGER = textwrap.dedent(
    """
    import sys
    from ray._raylet import GcsClient

    try:
        client = GcsClient(address=sys.argv[1])
        print("let in:", client.internal_kv_keys(b"", None))
    except Exception as error:
        print(type(error).__name__)
    """
)


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_a_client_without_the_token_is_refused(cluster: None, token: str | None) -> None:
    address = ray.get_runtime_context().gcs_address
    environment = {n: v for n, v in os.environ.items() if not n.startswith("RAY_")}
    if token is not None:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    known = {n: os.environ[n] for n in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    said = [
        subprocess.run(
            [sys.executable, "-c", STRANGER, address],
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout.strip()
        for variables in (environment, environment | known)
    ]
    assert said[0] == "AuthenticationError"
    assert said[1].startswith("let in:")


def test_the_token_is_not_on_disk(cluster: None) -> None:
    token = os.environ["RAY_AUTH_TOKEN"].encode()
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [path for path in session.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if token in path.read_bytes()]


def test_its_size_is_asked_for_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune wants to know it at every turn."""
    node = Node(node_id="a", name="a", address="a", alive=True, resources={"CPU": 1.0})
    now, answers = [0.0], iter([[node], [node, node]])
    monkeypatch.setattr(Nodes, "all", lambda self: next(answers))
    size = ClusterSize(Nodes(), lambda: now[0])
    assert [len(size.shapes()) for _ in range(3)] == [1] * 3
    now[0] = SIZE_HOLDS_S
    assert [len(size.shapes()) for _ in range(3)] == [2] * 3
    assert size.shapes()[0].cpu == 1.0


def test_it_has_no_more_cpus_than_asked_for_and_no_dashboard(cluster: None) -> None:
    assert ray.cluster_resources()["CPU"] == 1
    assert not ray._private.worker._global_node.address_info["webui_url"]


class Mortal(tune.Trainable):
    """Counts its steps; a worker dies once, or always, where its trial says so."""

    def setup(self, config: dict[str, Any]) -> None:
        self._take(config)
        self._die("setup")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config)
        self._die("reset")
        return True

    def step(self) -> dict[str, Any]:
        self._die("step")
        done = Path(self._message["folder"], f"{self._message['name']}-done")
        position = len(done.read_text()) if done.exists() else 0
        done.write_text("x" * (position + 1))
        return {"outcome": "trained", "position": position + 1, "done": position + 1 == 2}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        return None

    def _take(self, config: dict[str, Any]) -> None:
        self._message = config["message"]

    def _die(self, moment: str) -> None:
        if self._message["dies"] not in (moment, f"{moment}, always"):
            return
        mark = Path(self._message["folder"], f"{self._message['name']}-died")
        if mark.exists() and self._message["dies"] == moment:
            return
        mark.write_text("x")
        os._exit(1)


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


def run_mortals(tmp_path: Path, **dies: str) -> dict[str, Trial]:
    """Trials by name, after a run under our scheduler on one slot."""
    objects = open_storage("memory://")
    scheduler = StageScheduler(
        {name: [f"{name}0", f"{name}1"] for name in dies},
        lambda trial, key: False,
        LeaseWatch(LeaseTable(objects)),
        "driver",
        lambda: 2,
    )
    tuner = tune.Tuner(
        tune.with_resources(Mortal, {"CPU": 1}),
        param_space=space(
            {name: name for name in dies},
            lambda name: {"name": name, "dies": dies[name], "folder": str(tmp_path)},
        ),
        tune_config=tune.TuneConfig(
            scheduler=scheduler, reuse_actors=True, trial_dirname_creator=trial_id
        ),
        run_config=tune.RunConfig(
            name="mortals",
            storage_path=str(tmp_path),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=3),
            callbacks=[NoTuneOutput()],
        ),
    )
    return {trial_id(trial): trial for trial in tuner.fit()._experiment_analysis.trials}


def test_a_worker_that_dies_anywhere_is_replaced(cluster: None, tmp_path: Path) -> None:
    """Also while it is handed on to another trial, where Tune by itself would hang."""
    trials = run_mortals(tmp_path, a="setup", b="never", c="reset", d="step", e="never", f="reset")
    assert {trial.status for trial in trials.values()} == {Trial.TERMINATED}
    assert {trial.last_result["position"] for trial in trials.values()} == {2}


def test_a_trial_whose_workers_always_die_fails_alone(cluster: None, tmp_path: Path) -> None:
    trials = run_mortals(tmp_path, a="never", b="step, always", c="never")
    assert {name: trial.status for name, trial in trials.items()} == {
        "a": Trial.TERMINATED,
        "b": Trial.ERROR,
        "c": Trial.TERMINATED,
    }
