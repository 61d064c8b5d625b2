"""Content of leases, and leases that are damaged or no leases at all."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path

import pytest

from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import (
    LONGEST_LIFE_S,
    BlockedLeaseError,
    LeaseTable,
)
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.stages.leasing import (
    KEY,
    Clock,
    abandon,
)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_storage(str(tmp_path / "storage"))


def test_the_fields_of_a_lease(objects: ObjectStore) -> None:
    abandon(LeaseTable(objects, time_to_live_s=7.0), "driver:trial")
    fields = json.loads(objects.get(f"leases/{KEY}/0"))
    assert fields.pop("lease")
    assert fields.pop("since") <= fields.pop("at")
    assert fields.pop("host") == socket.gethostname()
    assert fields == {"owner": "driver:trial", "time_to_live_s": 7.0, "beat": 0}


@pytest.mark.parametrize("stated", ["NaN", "Infinity", "-Infinity", "1e999", "1e12", "-5", "true"])
def test_a_time_to_live_that_cannot_hold_is_ignored(objects: ObjectStore, stated: str) -> None:
    """With NaN a live owner would expire at once, with 1e12 a dead one never."""
    objects.put(f"leases/{KEY}/0", f'{{"lease": "x", "time_to_live_s": {stated}}}'.encode())
    clock = Clock()
    watch = LeaseWatch(LeaseTable(objects, time_to_live_s=20.0), clock)
    assert not watch.is_free(KEY)
    clock.now += 19.9
    assert not watch.is_free(KEY)
    clock.now += 0.2
    assert watch.is_free(KEY)


def test_a_folder_in_place_of_a_lease_is_found(objects: ObjectStore, tmp_path: Path) -> None:
    """It cannot be written over, read or expired, so its stage cannot be leased."""
    table = LeaseTable(objects)
    for generation in (0, 1):
        folder = tmp_path / "storage" / "leases" / KEY / str(generation)
        (folder / "7").mkdir(parents=True)
        (folder / "7" / "9").touch()
        assert table.acquire(KEY, "me") is None
        with pytest.raises(BlockedLeaseError, match=rf"leases/{KEY}/{generation} is a folder"):
            table.require_no_obstacle(KEY)
        shutil.rmtree(folder)
        abandon(table, "me")
        table.expire(KEY, 0)
    table.require_no_obstacle(KEY)


def test_files_that_are_no_leases_are_passed_over(objects: ObjectStore, tmp_path: Path) -> None:
    folder = tmp_path / "storage" / "leases"
    (folder / KEY).mkdir(parents=True)
    for name in (".DS_Store", f"{KEY}/.DS_Store", f"{KEY}/²", f"{KEY}/x y"):
        (folder / name).touch()
    table = LeaseTable(objects)
    lease = table.acquire(KEY, "me")
    assert lease is not None
    assert table.newest(KEY) == (0, False)
    table.clear(KEY, 0)
    assert table.newest(KEY) == (None, False)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0.0, -1.0, 1e12])
def test_leases_of_such_a_time_to_live_cannot_be_taken(
    objects: ObjectStore, seconds: float
) -> None:
    with pytest.raises(ValueError, match="time to live"):
        LeaseTable(objects, seconds)


def test_the_longest_time_to_live_can_be_waited_for(objects: ObjectStore) -> None:
    """Python cannot wait for much longer; the thread that beats would end."""
    lease = LeaseTable(objects, LONGEST_LIFE_S).acquire(KEY, "me")
    assert lease is not None
    with lease:
        time.sleep(0.2)
        assert lease._thread.is_alive()
