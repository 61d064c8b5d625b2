"""Leases between threads, with generations, under the clock of the observer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.stages.lease_watch import BLIND_S, LeaseWatch
from sweeps.stages.leases import (
    BEATS_PER_LIFE,
    LeaseTable,
)
from sweeps.storage import ObjectStore, StorageUnreachableError, open_storage
from sweeps.storage.patience import Patience
from tests.sweeps.stages.leasing import (
    KEY,
    PATIENCE_S,
    Clock,
    abandon,
    names,
    stood_still,
    wait_until,
)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_storage(str(tmp_path / "storage"))


def test_one_at_a_time_and_given_back_at_the_end(objects: ObjectStore) -> None:
    table = LeaseTable(objects)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    with lease:
        assert lease.is_mine()
        assert table.acquire(KEY, "b") is None
        assert table.acquire(KEY, "a") is None  # not even by the same owner
        assert table.acquire("other", "b") is not None
    assert not lease.is_mine()
    assert names(objects) == ["leases/other/0"]
    again = table.acquire(KEY, "b")
    assert again is not None
    assert again.generation == 0


def test_given_back_when_the_owner_fails(objects: ObjectStore) -> None:
    table = LeaseTable(objects)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    with pytest.raises(ZeroDivisionError), lease:
        _ = 1 / 0
    assert names(objects) == []
    assert lease._thread.is_alive() is False


def test_a_release_does_not_wait_for_a_beat_that_hangs(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it delete the lease then: the write that is under way could bring it back."""
    table = LeaseTable(objects, time_to_live_s=0.2)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    hanging, go_on = threading.Event(), threading.Event()
    put = ObjectStore.put

    def hang(self: ObjectStore, key: str, data: bytes) -> None:
        hanging.set()
        assert go_on.wait(PATIENCE_S)
        put(self, key, data)

    monkeypatch.setattr(ObjectStore, "put", hang)
    with lease:
        assert hanging.wait(PATIENCE_S)
        began = time.monotonic()
        lease.release(0.1)
        assert time.monotonic() - began < PATIENCE_S / 4
        assert names(objects) == ["0"]
        go_on.set()
    assert names(objects) == []


def test_the_owner_beats(objects: ObjectStore) -> None:
    table = LeaseTable(objects, time_to_live_s=0.2)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    with lease:
        seen = set()
        wait_until(lambda: bool(seen.add(table.beat(KEY, 0))) or len(seen) > 3)
    assert table.beat(KEY, 0) is None


def test_a_beat_that_cannot_be_written_is_not_the_last(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = LeaseTable(objects, time_to_live_s=0.2)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    whole, failures = ObjectStore.put, []

    def shaky(self: ObjectStore, key: str, data: bytes) -> None:
        if len(failures) < 3:
            failures.append(key)
            raise StorageUnreachableError(self.location, "write", 0.0, "no network")
        whole(self, key, data)

    monkeypatch.setattr(ObjectStore, "put", shaky)
    with lease:
        first = table.beat(KEY, 0)
        wait_until(lambda: table.beat(KEY, 0) != first)
    assert len(failures) == 3


def test_a_silent_owner_expires_by_the_clock_of_the_observer(objects: ObjectStore) -> None:
    table, clock = LeaseTable(objects, time_to_live_s=20.0), Clock()
    watch = LeaseWatch(table, clock)
    assert watch.is_free(KEY)
    abandon(table, "a")
    assert not watch.is_free(KEY)  # from here on it is observed
    clock.now += 19.9
    assert not watch.is_free(KEY)
    assert table.acquire(KEY, "b") is None
    clock.now += 0.1
    assert watch.is_free(KEY)
    assert names(objects) == ["0", "0.expired"]
    taken = table.acquire(KEY, "b")
    assert taken is not None
    assert taken.generation == 1


def test_an_observer_starts_to_count_when_it_first_looks(objects: ObjectStore) -> None:
    table, late = LeaseTable(objects, time_to_live_s=20.0), Clock()
    abandon(table, "a")
    late.now += 10_000
    assert not LeaseWatch(table, late).is_free(KEY)
    assert not LeaseWatch(table, late).is_free(KEY)


def test_a_beating_owner_never_expires(objects: ObjectStore) -> None:
    """Each look is almost a whole life after the last one, and sees one more beat."""
    table, clock = LeaseTable(objects, time_to_live_s=20.0), Clock()
    watch = LeaseWatch(table, clock)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    for count in range(1, 20):
        assert not watch.is_free(KEY)
        clock.now += 19.9
        objects.put(f"leases/{KEY}/0", lease._beat(count))
    clock.now += 1e6  # nobody looked for days; the beat has changed since
    assert not watch.is_free(KEY)
    assert lease.is_mine()


def test_a_beating_owner_never_expires_in_real_time(objects: ObjectStore) -> None:
    table = LeaseTable(objects, time_to_live_s=3.0)
    watch, lease = LeaseWatch(table), table.acquire(KEY, "a")
    assert lease is not None
    with lease:
        end = time.monotonic() + 2 * table.time_to_live_s
        while time.monotonic() < end:
            assert not watch.is_free(KEY)
            time.sleep(table.time_to_live_s / BEATS_PER_LIFE)
    assert watch.is_free(KEY)


def test_who_beats_rarely_is_given_the_time_it_asked_for(objects: ObjectStore) -> None:
    """Two drivers with different --lease-ttl on one storage."""
    abandon(LeaseTable(objects, time_to_live_s=60.0), "a")
    clock = Clock()
    watch = LeaseWatch(LeaseTable(objects, time_to_live_s=1.0), clock)
    assert not watch.is_free(KEY)
    clock.now += 59.0
    assert not watch.is_free(KEY)
    clock.now += 1.0
    assert watch.is_free(KEY)


def test_a_new_lease_is_not_taken_for_the_old_one(objects: ObjectStore) -> None:
    """The same trial leases the same stage again: same owner, same generation, same count."""
    table, clock = LeaseTable(objects, time_to_live_s=20.0), Clock()
    watch = LeaseWatch(table, clock)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    assert not watch.is_free(KEY)
    table.clear(KEY, 0)
    abandon(table, "a")
    clock.now += 1000.0
    assert not watch.is_free(KEY)
    stood_still(lease)
    assert not lease.is_mine()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\x00", b'{"owner": "a"'])
def test_a_damaged_lease_expires_like_a_silent_one(objects: ObjectStore, content: bytes) -> None:
    table, clock = LeaseTable(objects, time_to_live_s=20.0), Clock()
    watch = LeaseWatch(table, clock)
    objects.put(f"leases/{KEY}/0", content)
    assert table.acquire(KEY, "b") is None
    assert not watch.is_free(KEY)
    clock.now += 20.0
    assert watch.is_free(KEY)
    table.expire_owned(KEY, "b")


def test_an_owner_that_was_taken_over_knows(objects: ObjectStore) -> None:
    table = LeaseTable(objects, time_to_live_s=0.2)
    old = table.acquire(KEY, "a")
    assert old is not None
    with old:
        table.expire(KEY, 0)
        assert old.is_mine()  # declared gone, but nobody wants the stage
        new = table.acquire(KEY, "b")
        assert new is not None
        assert not old.is_mine()
        wait_until(lambda: not old._thread.is_alive())  # it stops beating by itself
    assert new.is_mine()  # and takes nothing with it when it ends


def test_a_successor_clears_what_came_before_and_nothing_after(objects: ObjectStore) -> None:
    table = LeaseTable(objects)
    abandon(table, "a")
    table.expire(KEY, 0)
    second = table.acquire(KEY, "b")
    assert second is not None
    table.expire(KEY, 1)
    abandon(table, "c")
    with second:
        pass
    assert names(objects) == ["0", "0.expired", "1", "1.expired", "2"]
    table.clear(KEY, 1)
    assert names(objects) == ["2"]


def test_a_late_owner_does_not_meet_itself_in_a_later_lease(objects: ObjectStore) -> None:
    """Numbers come again after all were given back; who held one before must not believe it."""
    table = LeaseTable(objects)
    late = table.acquire(KEY, "a")
    assert late is not None
    table.expire(KEY, 0)
    between = table.acquire(KEY, "b")
    assert between is not None
    with between:
        pass
    assert names(objects) == []
    now = table.acquire(KEY, "a")
    assert now is not None
    assert now.generation == late.generation
    stood_still(late)
    assert not late.is_mine()
    with late:
        pass
    assert now.is_mine()


@pytest.mark.parametrize("by", ["this version", "an earlier version"])
def test_a_verdict_that_outlived_its_lease_is_about_no_other(
    objects: ObjectStore, by: str
) -> None:
    """An observer that was slow: its verdict came after the lease had been given back."""
    table, clock = LeaseTable(objects, time_to_live_s=20.0), Clock()
    late = 0 if by == "this version" else 4
    first = table.acquire(KEY, "a")
    assert first is not None
    beat = table.beat(KEY, 0)
    with first:
        pass
    table.expire(KEY, late, beat)
    if by == "an earlier version":
        objects.put(f"leases/{KEY}/4.expired", b"{}")
    lease = table.acquire(KEY, "b")
    assert lease is not None
    assert table.newest(KEY) == (0, False)
    assert table.acquire(KEY, "c") is None
    watch = LeaseWatch(table, clock)
    assert not watch.is_free(KEY)
    clock.now += 20.0
    assert watch.is_free(KEY)  # a verdict of its own takes the place of the old one
    assert table.newest(KEY) == (0, True)
    successor = table.acquire(KEY, "c")
    assert successor is not None
    assert successor.generation == 1


def test_a_verdict_of_an_earlier_version_holds(objects: ObjectStore) -> None:
    table = LeaseTable(objects)
    abandon(table, "a")
    objects.put(f"leases/{KEY}/0.expired", b"{}")
    assert table.newest(KEY) == (0, True)
    successor = table.acquire(KEY, "b")
    assert successor is not None
    with successor:
        assert successor.generation == 1
    assert names(objects) == []


def test_no_stage_is_free_while_the_storage_cannot_be_read(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner could not write either, so the patience with it starts again afterwards."""
    table, clock = LeaseTable(objects, time_to_live_s=20.0), Clock()
    watch = LeaseWatch(table, clock)
    abandon(table, "a")
    assert not watch.is_free(KEY)
    clock.now += 19.0
    assert not watch.is_free(KEY)

    def away(self: ObjectStore, prefix: str = "") -> Iterator[str]:
        raise StorageUnreachableError(self.location, "list", 0.0, "no network")

    with monkeypatch.context() as outage:
        outage.setattr(ObjectStore, "list", away)
        clock.now += 1.0
        assert not watch.is_free(KEY)
        clock.now += 600.0
        assert not watch.is_free(KEY)
        table.expire_owned(KEY, "a")  # must not raise; the lease runs out by itself
    assert not watch.is_free(KEY)  # it looks again after a moment only
    clock.now += BLIND_S
    assert not watch.is_free(KEY)
    clock.now += 19.0
    assert not watch.is_free(KEY)
    clock.now += 1.0
    assert watch.is_free(KEY)


def test_an_owner_learns_of_its_loss_after_an_outage(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beats fail without piling up; the end of the block does not wait for the storage."""
    table = LeaseTable(objects, time_to_live_s=0.4)
    lease = table.acquire(KEY, "a")
    assert lease is not None
    gone = threading.Event()
    whole = Patience.run

    def away(self: Patience, operation: str, attempt: Callable[[], Any]) -> Any:
        if gone.is_set():
            raise StorageUnreachableError(self.location, operation, 0.0, "no network")
        return whole(self, operation, attempt)

    monkeypatch.setattr(Patience, "run", away)
    with lease:
        gone.set()
        time.sleep(2 * table.time_to_live_s)
        gone.clear()
        table.expire(KEY, 0)
        successor = table.acquire(KEY, "b")
        assert successor is not None
        assert not lease.is_mine()
        gone.set()
    gone.clear()
    assert names(objects) == ["0", "0.expired", "1"]
    assert successor.is_mine()


def test_only_the_lease_of_a_dead_owner_is_expired_at_once(objects: ObjectStore) -> None:
    table = LeaseTable(objects)
    table.expire_owned(KEY, "a")  # nothing to do
    abandon(table, "a")
    table.expire_owned(KEY, "b")
    assert table.acquire(KEY, "c") is None
    table.expire_owned(KEY, "a")
    assert table.acquire(KEY, "c") is not None
    table.expire_owned(KEY, "a")  # it is c's now
    assert table.newest(KEY) == (1, False)


def test_a_winner_whose_answer_was_lost_still_wins(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket is asked again after a lost answer, and says "taken" to the one that took it."""
    whole = ObjectStore.put_if_absent

    def lost(self: ObjectStore, key: str, data: bytes) -> bool:
        whole(self, key, data)
        return False

    table = LeaseTable(objects)
    monkeypatch.setattr(ObjectStore, "put_if_absent", lost)
    assert table.acquire(KEY, "a") is not None
    monkeypatch.setattr(LeaseTable, "newest", lambda self, key: (None, False))  # a race
    assert table.acquire(KEY, "a") is None
