"""Exclusion of drivers and of the deletion of stages on one storage.

    deletion/stages/GENERATION       lease of a `gc --delete` in progress
    sweeps/NAME/running/HASH.ID      lease of a driver
    sweeps/NAME/probing/ID           lease of a `plan --probe`

A driver takes its lease and then looks for a deletion; a deletion takes its lease and then looks
for drivers. At least one of them sees the other: a driver waits, and a deletion is refused.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from clmethods.errors import ConfigIssue, InvalidConfigError, refuse
from sweeps.planning.lease_readings import Beat, Sign, look_again, read_beats
from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import TIME_TO_LIVE_S, Lease, LeaseTable, beat_fields
from sweeps.storage import ObjectStore

FOLDER = "deletion"
KEY = "stages"
RUNNING, PROBING = "running", "probing"
POLL_S = 0.2
"""Seconds between two reads of the lease of a deletion."""


@final
@dataclass(frozen=True, slots=True)
class StageUser:
    """Process that may use any stored stage: a driver or a probe."""

    sweep: str
    beat: Beat

    @property
    def text(self) -> str:
        """Return a description, such as `a driver of sweep 'a' on host`."""
        what = "probe" if f"/{PROBING}/" in self.beat.name else "driver"
        where = f" on {self.beat.host}" if self.beat.host else ""
        return f"a {what} of sweep {self.sweep!r}{where}"


def wait_for_deletion(
    objects: ObjectStore, time_to_live_s: float, say: Callable[[str], None]
) -> None:
    """Wait until no `gc --delete` is in progress. Call it after taking the lease of a driver.

    A killed or suspended deletion is waited for until its lease expires. The lease is then taken
    over for a moment, so that a deletion that wakes up finds that it has lost it.
    """
    table = LeaseTable(objects, time_to_live_s, FOLDER)
    watch, announced = LeaseWatch(table), False
    while table.newest_number(KEY) is not None:
        if watch.is_free(KEY) and (lease := table.acquire(KEY, "driver")) is not None:
            with lease:
                continue
        if not announced:
            say("`sweeps gc --delete` is deleting stages of this storage: waiting for its end")
            announced = True
        time.sleep(POLL_S)


@contextmanager
def deletion_lease(
    objects: ObjectStore, time_to_live_s: float = TIME_TO_LIVE_S
) -> Iterator[Lease]:
    """Hold the right to delete stages for the duration of the block.

    Drivers that start meanwhile wait. Raises `InvalidConfigError` while a driver, a probe or
    another deletion is alive. A killed deletion is waited for until its lease expires.
    """
    table = LeaseTable(objects, time_to_live_s, FOLDER)
    lease = _taken(table)
    with lease:
        alive, unreadable = _look_at_users(objects, {})
        refuse(
            ConfigIssue(
                f"{objects.location}/{name}",
                "a damaged file",
                "the lease of a driver",
                "Whether a sweep is running cannot be known. Remove the file if none is running.",
            )
            for name in unreadable
        )
        refuse(
            ConfigIssue(
                "STORAGE",
                objects.location,
                "a storage on which no sweep is running",
                f"{user.text} is alive, and may use any stage. Wait for its end, or stop it "
                "(Ctrl-C loses nothing).",
            )
            for user in alive
        )
        yield lease


@contextmanager
def probing(sweep: str, objects: ObjectStore, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lease that keeps stages from being deleted while a probe uses them."""
    table = LeaseTable(objects, folder=f"sweeps/{sweep}/{PROBING}")
    lease = table.acquire(uuid.uuid4().hex, "probe")
    if lease is None:
        raise RuntimeError("a probe's number that nobody else can have was taken")
    with lease:
        wait_for_deletion(objects, table.time_to_live_s, say)
        yield


def user_leases(objects: ObjectStore) -> dict[str, str]:
    """Return the sweep of each lease of a driver or a probe, by key, also of killed ones."""
    return {
        f"sweeps/{name}/{folder}/{key}": name
        for name in objects.folders("sweeps")
        for folder in (RUNNING, PROBING)
        for key in objects.folders(f"sweeps/{name}/{folder}")
    }


def stage_users(objects: ObjectStore, known: Mapping[str, str]) -> list[StageUser]:
    """Return the drivers and probes that are alive, without those in `known`.

    `known`: from `user_leases`; leases that were looked at before. Takes as long as a heartbeat,
    or a few of them if a process was killed.
    """
    return _look_at_users(objects, known)[0]


def _look_at_users(
    objects: ObjectStore, known: Mapping[str, str]
) -> tuple[list[StageUser], list[str]]:
    """Return the users of `stage_users`, and the keys of leases that cannot be read."""
    started = time.monotonic()
    found: list[StageUser] = []
    unreadable: list[str] = []
    for folder, name in {
        lease.rpartition("/")[0]: sweep
        for lease, sweep in user_leases(objects).items()
        if lease not in known
    }.items():
        beats = read_beats(objects, folder, lambda key, at=folder: f"{at}/{key}" not in known)  # type: ignore[misc]
        found += [StageUser(name, beat) for beat in beats.by_key.values()]
        unreadable += beats.unreadable
    signs = look_again(objects, [user.beat for user in found], started)
    return [user for user in found if signs[user.beat.name][0] is Sign.ALIVE], unreadable


def _taken(table: LeaseTable) -> Lease:
    """Return the lease of a deletion; wait for the expiry of one that was killed."""
    watch, before = LeaseWatch(table), None
    while True:
        lease = table.acquire(KEY, "gc")
        if lease is not None:
            return lease
        newest = table.newest_number(KEY)
        beat = None if newest is None else table.beat(KEY, newest)
        if not watch.is_free(KEY) and _has_beaten(before, beat):
            constraint = "a storage of which no other `sweeps gc --delete` deletes stages"
            hint = "Wait for its end."
            raise InvalidConfigError(
                [ConfigIssue("STORAGE", table.objects.location, constraint, hint)]
            )
        before = beat
        time.sleep(POLL_S)


def _has_beaten(before: str | None, beat: str | None) -> bool:
    """Return True if the owner of a lease has written a heartbeat between two reads."""
    lease = beat_fields(beat).get("lease")
    return lease is not None and lease == beat_fields(before).get("lease") and beat != before
