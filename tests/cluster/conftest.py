"""Laboratories for the tests that need several hosts; `make test-cluster` runs them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.evidence import SharedFolder
from tests.cluster.fault_sweep import SWEEP
from tests.cluster.lab.laboratory import Lab, borrowed_packages, laboratory
from tests.cluster.lab.ray_cluster import RayCluster
from tests.cluster.lab.software import lend_environment
from tests.recovery.sweeping import unbroken_tables
from tests.sweeps.execution.tables import Tables

CLOCKS = {"w1": 300, "w2": -240, "w3": 90}
"""Seconds by which the wall clocks of hosts are wrong, in every test of faults."""

NODES = ("head", "w1", "w2")


LONGEST_FIRST = ("test_rolling_loss", "test_walk", "test_storage_faults", "test_faults")
"""Two files of tests run at a time: the longest must not be the last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@contextmanager
def lent_lab(
    name: str, hosts: Sequence[str], clocks: Mapping[str, int], shared_mb: int | None = None
) -> Iterator[Lab]:
    """Hosts whose nodes borrow the packages of the developer's environment."""
    nodes = [host for host in hosts if host not in ("laptop", "store")]
    mounts = dict.fromkeys(nodes, borrowed_packages())
    offsets = {host: offset for host, offset in clocks.items() if host in hosts}
    with laboratory(name, hosts, mounts, offsets, shared_mb) as started:
        for node in nodes:
            lend_environment(started[node], sources=True)
        yield started


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The final tables of the sweep of the fault tests when nothing happens to it.

    All processes of a run share one storage for it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "unbroken.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return unbroken_tables(shared / "unbroken", SWEEP)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A head and two workers whose wall clocks are minutes apart."""
    with lent_lab("faults", NODES, CLOCKS) as started:
        yield started


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> RayCluster:
    """Ray on the head and both workers; a test that breaks it repairs it."""
    ray = RayCluster(lab, lab["head"], [lab["w1"], lab["w2"]])
    ray.prepare()
    ray.start()
    return ray


@pytest.fixture
def shared_folder(lab: Lab, request: pytest.FixtureRequest) -> SharedFolder:
    """A storage of its own for each test, on the file system that all hosts mount."""
    name = request.node.name
    return SharedFolder(f"/shared/{name}", Path(lab.shared, name))
