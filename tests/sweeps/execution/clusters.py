"""Clusters of several nodes on this machine: with labels, GPUs that do not exist, an autoscaler.

Nodes are processes that the test itself starts, and ends by their numbers.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.execution.cluster.connection import ray_cluster
from sweeps.execution.resources.trial_resources import GPU_TYPE_LABEL
from tests.sweeps.execution.drivers import PATIENCE_S, Process, clean_environment, descendants

SMALL_STORE = 80_000_000


@contextmanager
def one_slot() -> Iterator[None]:
    """Ray of this process with one CPU; its changes of the environment are undone."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    try:
        with ray_cluster(None, cpus=1):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


HEAD_TYPE = "ray.head.default"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
"""Ray's own node provider for tests: its nodes are processes of this machine."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A node to start."""

    cpus: float = 0
    gpus: float = 0
    gpu_type: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return {GPU_TYPE_LABEL: self.gpu_type} if self.gpu_type else {}


@contextmanager
def fresh_environment() -> Iterator[None]:
    """No setting of an earlier Ray; a token, and GPUs hidden from who reserves none."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("RAY_", "TUNE_"))]:
        del os.environ[name]
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        "RAY_prestart_worker_first_driver": "0",  # workers that Tune would not use
    }
    try:
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def cluster_of(hosts: Sequence[Host]) -> Iterator[str]:
    """The address of a cluster: a head without slots, and these nodes."""
    with fresh_environment():
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
        cluster = Cluster(
            initialize_head=True, head_node_args={**head, "object_store_memory": SMALL_STORE}
        )
        try:
            for host in hosts:
                cluster.add_node(
                    num_cpus=host.cpus,
                    num_gpus=host.gpus,
                    labels=host.labels,
                    object_store_memory=SMALL_STORE,
                )
            yield cluster.address
        finally:
            cluster.shutdown()


@contextmanager
def autoscaling_cluster(
    folder: Path, types: Mapping[str, Host], version: int, port: int
) -> Iterator[str]:
    """The address of a head without slots, whose autoscaler can add two nodes of each type."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    address = f"127.0.0.1:{port}"
    provider: dict[str, Any] = {"type": "external", "module": PROVIDER, "gcs_address": address}
    variables = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    if version == 2:
        provider |= {"launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID}
        variables |= {
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        }
    file = folder / "autoscaling.json"
    file.write_text(json.dumps(_configuration(provider, types)))
    options = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=0"]
    options += ["--num-gpus=0", "--include-dashboard=false", f"--autoscaling-config={file}"]
    options += [f"--object-store-memory={SMALL_STORE}", "--block"]
    with fresh_environment(), (folder / "head.log").open("w") as log:
        secret = {name: os.environ[name] for name in os.environ if name.startswith("RAY_")}
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *options],
            env=clean_environment() | secret | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for_port(port, head, folder / "head.log")
            yield address
        finally:
            _end(head)


def _configuration(provider: dict[str, Any], types: Mapping[str, Host]) -> dict[str, Any]:
    nodes: dict[str, Any] = {
        HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    }
    for name, host in types.items():
        amounts = {"CPU": host.cpus, "GPU": host.gpus, "object_store_memory": SMALL_STORE}
        nodes[name] = {
            "resources": {kind: amount for kind, amount in amounts.items() if amount},
            "labels": host.labels,
            "node_config": {},
            "min_workers": 0,
            "max_workers": 2,
        }
    commands = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray")
    lists = [f"{name}_commands" for name in (*commands, "worker_start_ray")]
    lists += ["cluster_synced_files", "rsync_exclude", "rsync_filter"]
    return {
        "cluster_name": "small",
        "provider": provider,
        "available_node_types": nodes,
        "head_node_type": HEAD_TYPE,
        "max_workers": 4,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists},
    }


def _wait_for_port(port: int, head: subprocess.Popen[bytes], log: Path) -> None:
    """Until the head says that it is up."""
    deadline = time.monotonic() + PATIENCE_S
    while "This command will now block" not in log.read_text():
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _end(head: subprocess.Popen[bytes]) -> None:
    """End the head and the nodes that its autoscaler has started."""
    family = [process for pid in descendants(head.pid) if (process := Process.of(pid))]
    head.send_signal(signal.SIGTERM)
    try:
        head.wait(30)
    except subprocess.TimeoutExpired:
        head.kill()
        head.wait()
    for process in family:
        process.kill()
