"""The sweep of the fault tests, long enough to be hit in the middle, and its driver on a host."""

from __future__ import annotations

from typing import Any

import yaml

from tests.cluster.lab.command import Command
from tests.cluster.lab.host import Host
from tests.sweeps.execution.drivers import WORKERS, Process
from tests.sweeps.stages.small import DOCUMENT

SWEEP: dict[str, Any] = {
    **DOCUMENT,
    "stream": {"dataset": "digits", "tasks": 4, "limit": 12},
    "train": {"epochs": 20, "batch_size": 4},
    "search": {"method.importance_threshold": [0, 0.2]},
    "orders": {"design": "explicit", "list": [[0, 1, 2, 3], [2, 0, 3, 1]]},
    "seeds": [0, 1],
}
"""Eight trials of 28 distinct stages; a stage takes about a second."""

LEASE_S = 5
PYTHONS = ("python", "python3")


def write_sweep(host: Host, document: dict[str, Any] = SWEEP) -> str:
    """Write the sweep file on a host; returns its path there."""
    path = f"~/sweeps/{document['name']}.yaml"
    host.write(path, yaml.safe_dump(document))
    return path


def start_driver(host: Host, url: str, *options: str, document: dict[str, Any] = SWEEP) -> Command:
    """`sweeps run` on a host of the cluster, attached to it."""
    file = write_sweep(host, document)
    words = ("sweeps", "run", file, "--storage", url, "--address", "head:6379", *options)
    return host.start(" ".join((*words, f"--lease-ttl {LEASE_S}")))


def driver_processes(host: Host, program: str = "sweeps run") -> list[Process]:
    """The drivers of a host, by the pids of this machine."""
    return [
        process for process in host.processes(program) if process.name.split()[0].endswith(PYTHONS)
    ]


def worker_processes(host: Host) -> list[Process]:
    """Processes of a host that hold a trial."""
    return [process for process in host.processes("ray::") if process.name.startswith(WORKERS)]
