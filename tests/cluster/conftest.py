"""Laboratories for the tests that need several hosts; `make test-cluster` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.evidence import SharedFolder
from tests.cluster.fault_sweep import SWEEP
from tests.cluster.lab.laboratory import Lab, borrowed_packages, laboratory
from tests.cluster.lab.ray_cluster import RayCluster
from tests.cluster.lab.software import lend_environment
from tests.recovery.sweeping import unbroken_tables
from tests.sweeps.tune.tables import Tables

CLOCKS = {"w1": 300, "w2": -240}
"""Seconds by which the wall clocks of hosts are wrong, in every test of faults."""

NODES = ("head", "w1", "w2")


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The final tables of the sweep of the fault tests when nothing happens to it."""
    return unbroken_tables(tmp_path_factory.mktemp("unbroken"), SWEEP)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A store, a head and two workers whose wall clocks are minutes apart."""
    lent = borrowed_packages()
    mounts = dict.fromkeys(NODES, lent)
    with laboratory("faults", ["store", *NODES], mounts, CLOCKS) as started:
        for name in NODES:
            lend_environment(started[name], sources=True)
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
