"""Hosts, networks and processes fail under a running sweep; its end is that of an undisturbed one.

Wall clocks of the hosts are minutes apart in all tests.
"""

from __future__ import annotations

import json
import signal

import pytest

from sweeps.results.event_kinds import StageDone
from sweeps.results.events import read_events
from sweeps.storage import open_storage
from tests.cluster.evidence import SharedFolder, scenario, wait_until
from tests.cluster.fault_sweep import (
    SWEEP,
    driver_processes,
    start_driver,
    worker_processes,
)
from tests.cluster.lab.command import Command
from tests.cluster.lab.host import Host
from tests.cluster.lab.ray_cluster import RayCluster
from tests.cluster.lab.slow import paced, slow
from tests.cluster.lab.software import CHECKOUT
from tests.sweeps.execution.tables import Tables

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HOSTS = 3


def test_worker_process_worker_node_and_driver_are_lost(
    cluster: RayCluster, shared_folder: SharedFolder, unbroken: Tables
) -> None:
    w1, w2 = cluster.workers
    with scenario("losses", HOSTS, shared_folder, SWEEP["name"]) as test:
        watch = test.watch
        driver = start_driver(cluster.head, shared_folder.url)
        with paced(lambda: cluster.workers, watch.count, 0.5):
            watch.wait_for(2, driver)
            wait_until(lambda: worker_processes(w1), "a worker process on w1", driver)
            worker_processes(w1)[0].kill()
            test.inject("worker process killed")
            watch.wait_for(watch.count() + 3, driver)
            w2.power_off()
            test.inject("power cut of a worker node")
            watch.wait_for(watch.count() + 3, driver)
            cluster.restart_worker(w2)
            (process,) = driver_processes(cluster.head)
            process.kill()
        test.inject("driver killed")
        assert driver.wait().code == -signal.SIGKILL
        again = start_driver(cluster.head, shared_folder.url).wait().expect()
        assert "8 of 8 trials finished, 0 failed" in again.output
        test.must_equal(unbroken, SWEEP["name"])


def test_partitioned_node_heals_and_frozen_node_returns_as_a_zombie(
    cluster: RayCluster, shared_folder: SharedFolder, unbroken: Tables
) -> None:
    w1, w2 = cluster.workers
    with scenario("partition and zombie", HOSTS, shared_folder, SWEEP["name"]) as test:
        watch = test.watch
        driver = start_driver(cluster.head, shared_folder.url)
        watch.wait_for(2, driver)
        w1.cut()
        test.inject("partition")
        watch.wait_for(watch.count() + 1, driver)
        held = freeze_in_a_stage(w2, shared_folder, driver)
        test.inject("node frozen until its lease was taken")
        cluster.wait_for_slots(0)
        w1.heal()
        test.inject("partition healed")
        cluster.restart_worker(w1)
        wait_until(lambda: held <= watch.finished().keys(), f"{held} taken over", driver)
        w2.thaw()
        test.inject("zombie returned")
        assert "8 of 8 trials finished, 0 failed" in driver.wait().expect().output
        cluster.restart_worker(w2)
        cluster.wait_for_slots(2)
        test.must_equal(unbroken, SWEEP["name"])


def freeze_in_a_stage(host: Host, storage: SharedFolder, driver: Command) -> set[str]:
    """Freeze a host while it computes; return its stages."""
    while True:
        wait_until(lambda: stages_of(host, storage), f"a stage on {host.name}", driver)
        host.freeze()
        if held := stages_of(host, storage):
            return held
        host.thaw()  # it had just ended


def stages_of(host: Host, storage: SharedFolder) -> set[str]:
    """Return the keys of the stages that a host computes, by their leases."""
    held = set()
    for lease in storage.folder.glob("leases/*/*"):
        try:
            if lease.name.isdigit() and json.loads(lease.read_text())["host"] == host.name:
                held.add(lease.parent.name)
        except FileNotFoundError:
            continue  # it was given back meanwhile
    return held


def test_node_that_joins_late_with_other_software_trains_nothing(
    cluster: RayCluster, shared_folder: SharedFolder, unbroken: Tables
) -> None:
    w1, w2 = cluster.workers
    module = w2.path(f"{CHECKOUT}/clmethods/metrics/counts.py")
    original = module.read_text()
    w2.power_off()
    module.write_text(original + "# changed\n")
    with scenario("late node, other software", HOSTS, shared_folder, SWEEP["name"]) as test:
        driver = start_driver(cluster.head, shared_folder.url)
        with paced(lambda: [w1], test.watch.count, 0.3):
            test.watch.wait_for(2, driver)
            cluster.restart_worker(w2)
            test.inject("node with other software joins")
            driver.wait_for("no trial runs on w2")
        assert "8 of 8 trials finished, 0 failed" in driver.wait().expect().output
        assert trained_on(shared_folder) == {"w1"}
        test.must_equal(unbroken, SWEEP["name"])
    w2.power_off()
    module.write_text(original)
    cluster.restart_worker(w2)
    cluster.wait_for_slots(2)


def trained_on(storage: SharedFolder) -> set[str]:
    """Return the names of the hosts that trained stages, by the event log."""
    bodies = (
        event.body for event in read_events(open_storage(str(storage.local())), SWEEP["name"])
    )
    return {body.node for body in bodies if isinstance(body, StageDone)}


def test_new_cluster_continues_after_the_head_is_lost(
    cluster: RayCluster, shared_folder: SharedFolder, unbroken: Tables
) -> None:
    with scenario("head lost", HOSTS, shared_folder, SWEEP["name"]) as test:
        driver = start_driver(cluster.head, shared_folder.url)
        test.watch.wait_for(3, driver)
        cluster.head.power_off()
        test.inject("power cut of the head")
        driver.wait()
        cluster.head.power_on()
        cluster.stop()
        cluster.start()
        again = start_driver(cluster.head, shared_folder.url).wait().expect()
        assert "8 of 8 trials finished, 0 failed" in again.output
        test.must_equal(unbroken, SWEEP["name"])


def test_two_drivers_on_two_hosts_share_the_work_beside_a_slow_node(
    cluster: RayCluster, shared_folder: SharedFolder, unbroken: Tables
) -> None:
    w1, w2 = cluster.workers
    with scenario("two drivers", HOSTS, shared_folder, SWEEP["name"]) as test, slow([w2], 0.25):
        test.inject("slow node")
        drivers = [start_driver(host, shared_folder.url) for host in (cluster.head, w1)]
        test.inject("second driver on another host")
        test.watch.wait_for(2, *drivers)
        for driver in drivers:
            assert "8 of 8 trials finished, 0 failed" in driver.wait().expect().output
        test.must_equal(unbroken, SWEEP["name"])
