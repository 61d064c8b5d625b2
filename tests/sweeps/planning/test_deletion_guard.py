"""Drivers and `gc --delete` on one storage at the same time, in real processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition import expand
from sweeps.planning.deletion_guard import deletion_lease, probing
from sweeps.planning.driver_lock import presence
from sweeps.planning.garbage import delete_stages
from sweeps.planning.garbage import stage_deletion as stage_deletion_module
from sweeps.planning.garbage.stage_search import is_leased
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.stages.small import run_trial, small_sweep

TTL_S = 1.0
SWEEP = small_sweep()
WAIT_S = 60.0

GC = textwrap.dedent(
    """
    import sys
    from sweeps.planning.deletion_guard import deletion_lease
    from sweeps.planning.garbage import (
        delete_stages, find_garbage, needed_stages, recorded_stages, stored_stages, stored_sweeps,
    )
    from sweeps.storage import open_storage
    from tests.sweeps.planning.test_deletion_guard import TTL_S

    objects = open_storage(sys.argv[1])
    with deletion_lease(objects, TTL_S) as lease:
        stored, sweeps = stored_stages(objects), stored_sweeps(objects)
        recorded = recorded_stages(objects).sweeps
        found = find_garbage(objects, stored, needed_stages(sweeps, objects).keys, recorded)
        print("planned", len(found.stages), flush=True)
        sys.stdin.readline()
        deletion = delete_stages(objects, tuple(found.stages), lease)
    print("deleted", len(deletion.deleted), deletion.stopped, flush=True)
    """
)
"""`gc --delete`, which waits between the search and the deletion."""

DRIVER = textwrap.dedent(
    """
    import sys
    from sweeps.planning.driver_lock import keep_sweep_file, presence
    from sweeps.planning.plan import make_plan
    from sweeps.stages.stage_store import StageStore
    from sweeps.storage import open_storage
    from tests.sweeps.planning.test_deletion_guard import SWEEP, TTL_S

    objects = open_storage(sys.argv[1])
    print("started", flush=True)
    with presence(SWEEP, objects, TTL_S, lambda said: print(said, flush=True)):
        keep_sweep_file(SWEEP, objects)
        plan = make_plan(SWEEP, StageStore(objects))
        print("planned with", len(plan.stored), flush=True)
        sys.stdin.readline()
        again = make_plan(SWEEP, StageStore(objects))
        print("still has", len(again.stored), flush=True)
    """
)
"""A driver up to its plan, which makes a second plan when it reads a line."""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("original")
    (trial,) = expand(SWEEP)
    run_trial(trial, StageStore(open_storage(str(root))))
    return root


@pytest.fixture
def objects(original: Path, tmp_path: Path) -> ObjectStore:
    """Three stages that no sweep needs: `sweeps/` was deleted."""
    shutil.copytree(original / "stages", tmp_path / "stages")
    return open_storage(str(tmp_path))


@pytest.fixture
def start(objects: ObjectStore) -> Iterator[Start]:
    """Starts a program on the storage; the processes are killed at the end."""
    processes: list[subprocess.Popen[str]] = []

    def started(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, objects.location]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def proceed(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def stages_of(objects: ObjectStore) -> set[str]:
    return {key.split("/")[2] for key in objects.list("stages")}


def test_a_driver_that_starts_between_search_and_deletion_loses_no_stage(
    objects: ObjectStore, start: Start
) -> None:
    """It waits for the deletion, and plans with what is left."""
    collector = start(GC)
    assert line(collector) == "planned 3"
    driver = start(DRIVER)
    assert line(driver) == "started"
    assert line(driver).startswith("`sweeps gc --delete` is deleting stages of this storage")
    proceed(collector)
    printed = line(collector)
    assert printed.startswith("deleted")
    planned = line(driver)
    assert planned == f"planned with {len(stages_of(objects))}"
    proceed(driver)
    assert line(driver) == planned.replace("planned with", "still has")
    assert collector.wait(WAIT_S) == driver.wait(WAIT_S) == 0


def test_nothing_is_deleted_while_a_driver_is_alive(objects: ObjectStore, start: Start) -> None:
    driver = start(DRIVER)
    assert line(driver) == "started"
    assert line(driver) == "planned with 3"
    with (
        pytest.raises(InvalidConfigError, match=r"a driver of sweep 'small' on .* is alive"),
        deletion_lease(objects, TTL_S),
    ):
        raise AssertionError("the deletion began")
    proceed(driver)
    assert line(driver) == "still has 3"
    assert driver.wait(WAIT_S) == 0
    with deletion_lease(objects, TTL_S):  # it has ended
        pass


def test_a_deletion_that_was_killed_lets_a_driver_start(
    objects: ObjectStore, start: Start
) -> None:
    collector = start(GC)
    assert line(collector) == "planned 3"
    collector.kill()
    driver = start(DRIVER)
    assert line(driver) == "started"
    assert "waiting for its end" in line(driver)
    assert line(driver) == "planned with 3"
    proceed(driver)
    assert line(driver) == "still has 3"
    assert driver.wait(WAIT_S) == 0
    with deletion_lease(objects, TTL_S):  # and the next deletion
        pass


def test_a_deletion_that_was_suspended_deletes_nothing_more(
    objects: ObjectStore, start: Start
) -> None:
    """A driver has taken over meanwhile."""
    collector = start(GC)
    assert line(collector) == "planned 3"
    collector.send_signal(signal.SIGSTOP)
    driver = start(DRIVER)
    assert [line(driver) for _ in range(3)][-1] == "planned with 3"
    collector.send_signal(signal.SIGCONT)
    proceed(collector)
    assert line(collector).startswith("deleted 0 ")
    proceed(driver)
    assert line(driver) == "still has 3"


def test_a_killed_driver_does_not_stop_a_deletion(objects: ObjectStore, start: Start) -> None:
    driver = start(DRIVER)
    assert [line(driver) for _ in range(2)][-1] == "planned with 3"
    driver.kill()
    with deletion_lease(objects, TTL_S) as lease:
        assert len(delete_stages(objects, tuple(stages_of(objects)), lease).deleted) == 3
    assert stages_of(objects) == set()


def test_a_driver_whose_lease_cannot_be_read_stops_a_deletion(objects: ObjectStore) -> None:
    """Nobody knows whether it is alive."""
    name = "sweeps/small/running/a.b/0"
    objects.put(name, b"\0")
    refused = pytest.raises(InvalidConfigError, match=f"{name}: got 'a damaged file'")
    with refused, deletion_lease(objects, TTL_S):
        pytest.fail("stages could be deleted")
    objects.delete(name)
    with deletion_lease(objects, TTL_S):
        pass


def test_two_deletions_exclude_each_other(objects: ObjectStore, start: Start) -> None:
    collector = start(GC)
    assert line(collector) == "planned 3"
    with (
        pytest.raises(InvalidConfigError, match="no other `sweeps gc --delete`"),
        deletion_lease(objects, TTL_S),
    ):
        raise AssertionError("the deletion began")
    proceed(collector)
    assert line(collector) == "deleted 3"


def test_a_probe_stops_a_deletion(objects: ObjectStore) -> None:
    with (
        probing("small", objects, print),
        pytest.raises(InvalidConfigError, match=r"a probe of sweep 'small'"),
        deletion_lease(objects, TTL_S),
    ):
        raise AssertionError("the deletion began")


def test_a_driver_of_an_earlier_version_stops_a_deletion(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the end of the deletion."""
    monkeypatch.setattr(stage_deletion_module, "LOOK_EVERY", 2)
    seen = list[str]()
    table = LeaseTable(objects, TTL_S, "sweeps/old/running")
    driver = table.acquire("hash.id", "driver")
    assert driver is not None
    stages = tuple(sorted(stages_of(objects)))
    table.clear("hash.id", 0)

    def begin(leases: LeaseTable, key: str) -> bool:
        seen.append(key)
        if len(seen) == 1:
            lease = table.acquire("hash.second", "driver")
            assert lease is not None
            lease.__enter__()
            started.append(lease)
        return is_leased(leases, key)

    started = []
    monkeypatch.setattr(stage_deletion_module, "is_leased", begin)
    try:
        with deletion_lease(objects, TTL_S) as lease:
            deletion = delete_stages(objects, stages, lease)
    finally:
        for each in started:
            each.release()
    assert deletion.deleted == stages[:2]
    assert "a driver of sweep 'old'" in deletion.stopped
    assert stages_of(objects) == {stages[2]}


def test_a_stage_that_is_leased_by_now_stays(objects: ObjectStore) -> None:
    stages = tuple(sorted(stages_of(objects)))
    assert LeaseTable(objects).acquire(stages[0], "somebody") is not None
    with deletion_lease(objects, TTL_S) as lease:
        assert delete_stages(objects, stages, lease).deleted == stages[1:]


def test_a_driver_without_a_deletion_does_not_wait(objects: ObjectStore) -> None:
    began, said = time.monotonic(), list[str]()
    with presence(SWEEP, objects, 20.0, said.append):
        assert time.monotonic() - began < 5.0
    assert said == []
