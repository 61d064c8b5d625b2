"""Leases on stages: the right of one process to compute a stage.

Computing a stage twice is harmless. A lease only saves the duplicated work.

    leases/KEY/GENERATION            owner of the lease, and a heartbeat that counts up
    leases/KEY/GENERATION.expired    verdict of an observer that this owner has stopped

The newest generation holds the lease of a stage. An observer may declare a generation expired if
its heartbeat has not changed for the time to live, measured by the observer's monotonic clock.
The next owner writes the next generation with put-if-absent, so only one of several processes
acquires it. Wall clocks are never compared.

The usual case takes few requests: generation 0 is written with put-if-absent, without a listing
before, and deleted at the end. Generation 0 exists as long as a later one does. An owner whose
last write was confirmed within half its time to live cannot have been declared expired yet.

If the storage is unreachable, the heartbeats of all owners stop. Heartbeats and observations are
therefore not retried (the next one comes soon), and an observer that could not read starts its
measurement again.
"""

from __future__ import annotations

import json
import platform
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import final

from clmethods.json_parsing import parse_json_object
from sweeps.errors import SweepsError
from sweeps.storage import MissingObjectError, ObjectStore, StorageError

TIME_TO_LIVE_S = 20.0
"""Seconds without a new heartbeat after which an owner counts as stopped."""
LONGEST_LIFE_S = 86400.0
"""Maximum time to live. A greater one in a lease is ignored: the lease may be damaged."""
BEATS_PER_LIFE = 8
"""Number of heartbeats per time to live."""
LOOK_EVERY = 4
"""Number of heartbeats after which an owner reads its lease instead of writing it."""


def _uptime() -> float:
    """Return seconds of a clock that also runs during suspend, if the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class BlockedLeaseError(SweepsError, RuntimeError):
    """A lease cannot be taken, although nobody holds it; the text says why and what to do."""


@final
class LeaseTable:
    """All leases of a storage."""

    def __init__(
        self,
        objects: ObjectStore,
        time_to_live_s: float = TIME_TO_LIVE_S,
        folder: str = "leases",
    ) -> None:
        """`time_to_live_s`: of leases taken here, and the least before others are taken over."""
        if not 0 < time_to_live_s <= LONGEST_LIFE_S:  # false for NaN too
            raise ValueError(f"a time to live is from 0 to {LONGEST_LIFE_S:g} s: {time_to_live_s}")
        self.objects = objects
        self.time_to_live_s = time_to_live_s
        self.folder = folder

    def without_retries(self) -> LeaseTable:
        """Return the same leases on a storage that does not retry its operations."""
        return LeaseTable(self.objects.without_retries(), self.time_to_live_s, self.folder)

    def acquire(self, key: str, owner: str) -> Lease | None:
        """Return the lease of a stage as a context manager; None if another owner holds it."""
        first = Lease(self, key, 0, owner)
        if first.take():
            return first
        newest, expired = self.newest(key)
        if newest is None or not expired:
            return None
        lease = Lease(self, key, newest + 1, owner)
        return lease if lease.take() else None

    def newest(self, key: str) -> tuple[int | None, bool]:
        """Return (number of the newest generation or None, True if it was declared expired).

        A verdict about a lease that was released in the meantime does not apply to the next lease
        of the same number.
        """
        names = self._names(key)
        newest = _newest_of(names)
        if newest is None or f"{newest}.expired" not in names:
            return newest, False
        return newest, self._verdict_holds(key, newest)

    def newest_number(self, key: str) -> int | None:
        """Return the number of the newest generation, with one request."""
        return _newest_of(self._names(key))

    def name(self, key: str, generation: int) -> str:
        """Return the storage key of a generation's lease."""
        return f"{self.folder}/{key}/{generation}"

    def beat(self, key: str, generation: int) -> str | None:
        """Return the last heartbeat of a generation's owner; None if the lease was released."""
        return self._read(self.name(key, generation))

    def expire(self, key: str, generation: int, beat: str | None = None) -> None:
        """Declare a generation expired. `beat`: its last heartbeat, read if it is None."""
        beat = self.beat(key, generation) if beat is None else beat
        verdict = {"lease": beat_fields(beat).get("lease")}
        self.objects.put(f"{self.name(key, generation)}.expired", json.dumps(verdict).encode())

    def expire_owned(self, key: str, owner: str) -> None:
        """Declare the newest generation expired if `owner`, which is known to be dead, holds it.

        Does nothing if the storage is unreachable, because the lease expires anyway.
        """
        table = self.without_retries()
        with suppress(StorageError):
            newest, expired = table.newest(key)
            if newest is None or expired:
                return
            beat = table.beat(key, newest)
            if beat_fields(beat).get("owner") == owner:
                table.expire(key, newest, beat)

    def clear(self, key: str, generation: int) -> None:
        """Delete the generations up to this one; a later one belongs to another owner.

        Verdicts are deleted before the leases, so that the stage never looks free in between.
        Generation 0 is deleted last, because a process that finds it absent acquires the lease.
        """
        removed = [name for name in self._names(key) if _is_up_to(name, generation)]
        verdicts = [name for name in removed if not name.isdigit()]
        later = [name for name in removed if name.isdigit() and name != "0"]
        for names in (verdicts, later, ["0"] if "0" in removed else []):
            self.objects.delete_all([f"{self.folder}/{key}/{name}" for name in names])

    def require_no_obstacle(self, key: str) -> None:
        """Raise `BlockedLeaseError` if a folder is in the place of a lease.

        Only a file system can have one. The lease can be neither taken nor expired.
        """
        names = [name for name in self.objects.folders(f"{self.folder}/{key}") if _is_number(name)]
        if names:
            place = f"{self.objects.location}/{self.folder}/{key}/{names[0]}"
            raise BlockedLeaseError(f"{place} is a folder, not a lease: remove it")

    def _names(self, key: str) -> list[str]:
        prefix = f"{self.folder}/{key}/"
        names = [name.removeprefix(prefix) for name in self.objects.list(f"{self.folder}/{key}")]
        return [name for name in names if _is_number(name.removesuffix(".expired"))]

    def _verdict_holds(self, key: str, generation: int) -> bool:
        """Return True if the verdict about a generation names the lease that is stored."""
        verdict = self._read(f"{self.name(key, generation)}.expired")
        fields = beat_fields(verdict)
        if "lease" not in fields:  # written by an earlier version of this code
            return verdict is not None
        beat = self.beat(key, generation)
        return beat is not None and beat_fields(beat).get("lease") == fields["lease"]

    def _read(self, name: str) -> str | None:
        try:
            return self.objects.get(name).decode(errors="replace")
        except MissingObjectError:
            return None


@final
class Lease:
    """Right to compute one stage. A thread writes heartbeats until the `with` block ends."""

    def __init__(self, table: LeaseTable, key: str, generation: int, owner: str) -> None:
        self.table, self.key, self.generation, self.owner = table, key, generation, owner
        self._id = uuid.uuid4().hex  # generation numbers are reused after all were released
        self._confirmed = -float("inf")  # start time of the last write that succeeded
        self._lost = False
        self._since = _now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def take(self) -> bool:
        """Write the generation with put-if-absent; return True if this lease holds it."""
        name, began = self.table.name(self.key, self.generation), _uptime()
        created = self.table.objects.put_if_absent(name, self._beat(0))
        # If a response was lost, a bucket may report a conflict although this write succeeded.
        if created or self._holds_id(self.table):
            self._confirmed = began
            return True
        return False

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self, wait_s: float | None = None) -> None:
        """Stop beating and give the lease back; one that cannot be given back runs out.

        `wait_s`: how long to wait for a beat that is being written.
        """
        self._stop.set()
        self._thread.join(wait_s)
        if not self._thread.is_alive():  # otherwise its write could bring the lease back
            with suppress(StorageError):  # a lease that cannot be released expires
                self._release(self.table.without_retries())

    def is_mine(self) -> bool:
        """Return True if no other process has taken over the lease. Check this before a commit."""
        return self._is_mine(self.table)

    def is_still_mine(self) -> bool:
        """Return the same as `is_mine`, without a request soon after a confirmed heartbeat."""
        return not self._lost and (self._is_fresh or self.is_mine())

    @property
    def _is_fresh(self) -> bool:
        """Return True if a write was confirmed so recently that no observer can have timed out."""
        return _uptime() - self._confirmed < self.table.time_to_live_s / 2

    def _is_mine(self, table: LeaseTable) -> bool:
        fresh = self._is_fresh
        newest = table.newest_number(self.key) == self.generation
        mine = newest and (fresh or self._holds_id(table))
        self._lost = self._lost or not mine
        return mine

    def _holds_id(self, table: LeaseTable) -> bool:
        return beat_fields(table.beat(self.key, self.generation)).get("lease") == self._id

    def _release(self, table: LeaseTable) -> None:
        if self._lost:
            return
        if self.generation == 0 and self._is_fresh:
            table.objects.delete(table.name(self.key, 0))
        elif self._is_mine(table):
            table.clear(self.key, self.generation)

    def _keep_beating(self) -> None:
        count, table = 0, self.table.without_retries()
        name = table.name(self.key, self.generation)
        while not self._stop.wait(table.time_to_live_s / BEATS_PER_LIFE):
            count += 1
            began, fresh = _uptime(), self._is_fresh
            with suppress(StorageError):  # the next heartbeat may succeed
                if not fresh or count % LOOK_EVERY == 0:
                    if not self._is_mine(table):
                        return  # a further write would restore what the next owner has deleted
                    if fresh:
                        continue
                table.objects.put(name, self._beat(count))
                self._confirmed = began

    def _beat(self, count: int) -> bytes:
        fields = {
            "owner": self.owner,
            "lease": self._id,
            "time_to_live_s": self.table.time_to_live_s,
            "beat": count,
            "host": platform.node(),  # no decision uses this field or the following ones
            "since": self._since,
            "at": _now(),
        }
        return json.dumps(fields).encode()


def _now() -> str:
    """Return the wall clock time of this machine, which no decision uses."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _newest_of(names: list[str]) -> int | None:
    """Return the greatest generation number among the names of leases."""
    return max((int(name) for name in names if _is_number(name)), default=None)


def _is_up_to(name: str, generation: int) -> bool:
    """Return True if `3` or `3.expired` belongs to this generation or an earlier one."""
    number = name.removesuffix(".expired")
    return _is_number(number) and int(number) <= generation


def _is_number(name: str) -> bool:
    """Return True for the name of a generation; a storage may hold files of other programs."""
    return name.isascii() and name.isdigit()


def beat_fields(beat: str | None) -> dict[str, object]:
    """Return the fields of a heartbeat; empty if the lease was released or is not valid JSON."""
    return parse_json_object(beat or "") or {}
