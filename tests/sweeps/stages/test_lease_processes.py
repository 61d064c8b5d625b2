"""Leases between real processes: killed, stopped, and in competition."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import (
    LeaseTable,
)
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.stages.leasing import (
    KEY,
    PATIENCE_S,
    abandon,
    names,
    wait_until,
)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_storage(str(tmp_path / "storage"))


OWNER = textwrap.dedent(
    """
    import sys, time
    from sweeps.stages.leases import LeaseTable
    from sweeps.storage import open_storage

    lease = LeaseTable(open_storage(sys.argv[1]), float(sys.argv[3])).acquire(sys.argv[2], "owner")
    with lease:
        print("mine", flush=True)
        sys.stdin.readline()
    """
)


def start_owner(objects: ObjectStore, time_to_live_s: float) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, objects.location, KEY, str(time_to_live_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "mine\n"
    return owner


def test_a_killed_process_is_succeeded(objects: ObjectStore) -> None:
    table = LeaseTable(objects, time_to_live_s=3.0)
    owner = start_owner(objects, 3.0)
    watch = LeaseWatch(table)
    try:
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            assert not watch.is_free(KEY)
            time.sleep(0.1)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    assert table.acquire(KEY, "next") is None
    wait_until(lambda: watch.is_free(KEY))
    successor = table.acquire(KEY, "next")
    assert successor is not None
    assert successor.generation == 1


def test_a_process_that_stood_still_finds_its_lease_gone(objects: ObjectStore) -> None:
    """Stopped for longer than its time to live (a laptop that slept), then going on."""
    table = LeaseTable(objects, time_to_live_s=0.5)
    owner = start_owner(objects, 0.5)
    watch = LeaseWatch(table)
    owner.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: watch.is_free(KEY))
        successor = table.acquire(KEY, "next")
        assert successor is not None
        with successor:
            owner.send_signal(signal.SIGCONT)
            owner.communicate("\n", timeout=PATIENCE_S)
            assert owner.returncode == 0
            assert successor.is_mine()
            assert names(objects) == ["0", "0.expired", "1"]
    finally:
        owner.kill()
        owner.communicate()
    assert names(objects) == []


RACER = textwrap.dedent(
    """
    import os, sys, time
    from pathlib import Path
    from sweeps.stages.leases import LeaseTable
    from sweeps.storage import open_storage

    location, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    table = LeaseTable(open_storage(location))
    inside = Path(location, "inside")
    Path(location, f"ready-{me}").touch()
    while not Path(location, "go").exists():
        time.sleep(0.001)
    won = 0
    for i in range(rounds):
        lease = table.acquire(f"key{i % 3}", me)
        if lease is None:
            continue
        with lease:
            won += 1
            mark = Path(location, f"inside-{i % 3}")
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # fails if somebody else is in
            time.sleep(0.001)
            mark.unlink()
    print(won)
    """
)


def test_processes_never_hold_a_stage_together(objects: ObjectStore, tmp_path: Path) -> None:
    root = Path(objects.location)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, objects.location, str(me), "150"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(4)
    ]
    wait_until(lambda: len(list(root.glob("ready-*"))) == len(racers))
    (root / "go").touch()
    ends = [racer.communicate(timeout=PATIENCE_S) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * len(racers), ends
    # a race at all: on a busy machine one of them may be scheduled too late to win anything
    assert sum(int(out) > 0 for out, _ in ends) >= 2
    assert list(objects.list("leases")) == []


def test_of_several_takers_of_an_expired_lease_one_wins(objects: ObjectStore) -> None:
    table = LeaseTable(objects)
    abandon(table, "dead")
    table.expire(KEY, 0)
    barrier, won = threading.Barrier(8), []

    def take(me: int) -> None:
        barrier.wait()
        lease = table.acquire(KEY, str(me))
        if lease is not None:
            won.append(lease)

    threads = [threading.Thread(target=take, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(lease.generation, lease.is_mine()) for lease in won] == [(1, True)]
