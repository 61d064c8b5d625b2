"""The storage is full, down or frozen: the sweep waits for it, or says what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.results.event_kinds import Notice
from sweeps.results.events import read_events
from sweeps.storage import open_storage
from tests.cluster.conftest import CLOCKS, NODES, lent_lab
from tests.cluster.evidence import Bucket, SharedFolder, scenario, wait_until
from tests.cluster.fault_sweep import SWEEP, start_driver
from tests.cluster.lab.laboratory import Lab
from tests.cluster.lab.object_storage import ObjectStorage
from tests.cluster.lab.ray_cluster import RayCluster
from tests.sweeps.execution.tables import Tables

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HOSTS = 4
SHARED_MB = 64
OUTAGE_S = 60.0
FROZEN_S = 20.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lent_lab("storage", ["store", *NODES], CLOCKS, SHARED_MB) as started:
        yield started


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[ObjectStorage]:
    started = ObjectStorage.start(lab)
    yield started
    started.server.stop()


@pytest.fixture(scope="module")
def cluster(lab: Lab, server: ObjectStorage) -> RayCluster:
    ray = RayCluster(lab, lab["head"], [lab["w1"], lab["w2"]])
    ray.prepare(server.settings(), server.credentials())
    ray.start()
    return ray


def test_sweep_waits_for_an_object_storage_that_is_down_and_then_frozen(
    cluster: RayCluster, server: ObjectStorage, tmp_path: Path, unbroken: Tables
) -> None:
    storage = Bucket(server, "outage", tmp_path)
    with scenario("object storage down", HOSTS, storage, SWEEP["name"]) as test:
        driver = start_driver(cluster.head, storage.url)
        test.watch.wait_for(2, driver)
        server.server.stop()
        test.inject(f"object storage down for {OUTAGE_S:.0f} s")
        end = time.monotonic() + OUTAGE_S
        wait_until(lambda: time.monotonic() > end, "the driver outlives the outage", driver)
        server.power_on()
        test.watch.wait_for(test.watch.count() + 2, driver)
        server.server.freeze()
        test.inject(f"object storage frozen for {FROZEN_S:.0f} s")
        end = time.monotonic() + FROZEN_S
        wait_until(lambda: time.monotonic() > end, "the driver outlives the pause", driver)
        server.server.thaw()
        done = driver.wait().expect()
        assert "8 of 8 trials finished, 0 failed" in done.output
        assert "Traceback" not in done.output
        assert "storage" in done.output.split("stages", 1)[1]  # the outage was reported
        assert any("out of reach" in said for said in notices(storage.local()))
        test.must_equal(unbroken, SWEEP["name"])


def test_full_storage_ends_the_run_with_one_sentence(
    lab: Lab, cluster: RayCluster, unbroken: Tables
) -> None:
    storage = SharedFolder("/shared/full", lab.shared / "full")
    ballast = lab.shared / "ballast"
    with scenario("full storage", HOSTS, storage, SWEEP["name"]) as test:
        driver = start_driver(cluster.head, storage.url)
        test.watch.wait_for(2, driver)
        fill(ballast)
        test.inject("storage full")
        done = driver.wait()
        assert done.code == 1, done.output
        assert "no space is left" in done.output
        assert "Traceback" not in done.output
        ballast.unlink()
        again = start_driver(cluster.head, storage.url).wait().expect()
        assert "8 of 8 trials finished, 0 failed" in again.output
        test.must_equal(unbroken, SWEEP["name"])


def notices(storage: Path) -> list[str]:
    """Return the sentences in the event log."""
    bodies = (event.body for event in read_events(open_storage(str(storage)), SWEEP["name"]))
    return [body.text for body in bodies if isinstance(body, Notice)]


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    with file.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError:
                continue
