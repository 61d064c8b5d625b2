"""Leases: who computes a stage. Computing a stage twice is harmless; a lease only saves the work.

    leases/KEY/GENERATION            whose lease it is, and a beat that counts up
    leases/KEY/GENERATION.expired    an observer's verdict that the owner of that lease has stopped

A stage belongs to the lease of its newest generation. Whoever sees its beat stand still for the
time to live, by its own monotonic clock, may declare it expired; the next owner puts the next
generation if it is absent, so of several takers one wins. Wall clocks are never compared.

The usual case takes few requests: generation 0 is put if absent, without a look at what is there,
and deleted in the end. Generation 0 exists as long as a later one does. An owner whose last write
was confirmed within half its time to live cannot have been declared expired yet.

A storage that is out of reach stops the beats of all owners. So beats and looks are not retried
(the next one comes soon), and an observer that could not look starts to count anew.
"""

from __future__ import annotations

import json
import platform
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, final

from sweeps.storage import MissingObjectError, ObjectStore, StorageError

TIME_TO_LIVE_S = 20.0
"""How long a beat must stand still before its owner counts as gone."""
LONGEST_LIFE_S = 86400.0
"""The longest time to live. A greater one in a lease does not hold: it may be no number at all."""
BEATS_PER_LIFE = 8
LOOK_EVERY = 4
"""Every so many beats an owner looks whether the lease is still its own, in place of a write."""
BLIND_S = 5.0
"""How long an observer that could not look waits before it looks again."""


def _uptime() -> float:
    """Seconds on a clock that also runs while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class BlockedLeaseError(RuntimeError):
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

    def at_once(self) -> LeaseTable:
        """The same leases, on a storage whose operations are not tried again."""
        return LeaseTable(self.objects.without_retries(), self.time_to_live_s, self.folder)

    def acquire(self, key: str, owner: str) -> Lease | None:
        """The lease of a stage, to be entered; None while somebody else has it."""
        first = Lease(self, key, 0, owner)
        if first.take():
            return first
        newest, expired = self.newest(key)
        if newest is None or not expired:
            return None
        lease = Lease(self, key, newest + 1, owner)
        return lease if lease.take() else None

    def newest(self, key: str) -> tuple[int | None, bool]:
        """(number of the newest generation or None, whether it was declared expired).

        A verdict about a lease that was given back meanwhile does not hold for the next one of
        the same number.
        """
        names = self._names(key)
        newest = _newest_of(names)
        if newest is None or f"{newest}.expired" not in names:
            return newest, False
        return newest, self._verdict_holds(key, newest)

    def newest_number(self, key: str) -> int | None:
        """The first part of `newest`, by one request."""
        return _newest_of(self._names(key))

    def name(self, key: str, generation: int) -> str:
        """Where a generation's lease is kept."""
        return f"{self.folder}/{key}/{generation}"

    def beat(self, key: str, generation: int) -> str | None:
        """What the owner of a generation last wrote; None if the lease was given back."""
        return self._read(self.name(key, generation))

    def expire(self, key: str, generation: int, beat: str | None = None) -> None:
        """Declare the owner of a generation gone. `beat`: what it last wrote, if that is known."""
        beat = self.beat(key, generation) if beat is None else beat
        verdict = {"lease": _fields(beat).get("lease")}
        self.objects.put(f"{self.name(key, generation)}.expired", json.dumps(verdict).encode())

    def expire_owned(self, key: str, owner: str) -> None:
        """Declare the newest generation expired if `owner`, known to be dead, holds it.

        Nothing happens if the storage is out of reach: the lease runs out by itself.
        """
        table = self.at_once()
        with suppress(StorageError):
            newest, expired = table.newest(key)
            if newest is None or expired:
                return
            beat = table.beat(key, newest)
            if _fields(beat).get("owner") == owner:
                table.expire(key, newest, beat)

    def clear(self, key: str, generation: int) -> None:
        """Remove the generations up to this one; a later one is somebody else's.

        Verdicts go before the leases, which must not look free meanwhile, and generation 0 goes
        last, as whoever finds it absent takes the lease.
        """
        gone = [name for name in self._names(key) if _is_up_to(name, generation)]
        verdicts = [name for name in gone if not name.isdigit()]
        later = [name for name in gone if name.isdigit() and name != "0"]
        for names in (verdicts, later, ["0"] if "0" in gone else []):
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
        """Whether the verdict about a generation is about the lease that is there."""
        verdict = self._read(f"{self.name(key, generation)}.expired")
        about = _fields(verdict)
        if "lease" not in about:  # of an earlier version of this code
            return verdict is not None
        beat = self.beat(key, generation)
        return beat is not None and _fields(beat).get("lease") == about["lease"]

    def _read(self, name: str) -> str | None:
        try:
            return self.objects.get(name).decode(errors="replace")
        except MissingObjectError:
            return None


@final
class Lease:
    """The right to compute one stage, kept alive by a thread until the `with` block ends."""

    def __init__(self, table: LeaseTable, key: str, generation: int, owner: str) -> None:
        self.table, self.key, self.generation, self.owner = table, key, generation, owner
        self._id = uuid.uuid4().hex  # numbers of generations come again once all are given back
        self._confirmed = -float("inf")  # when the last write began that got through
        self._lost = False
        self._since = _now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def take(self) -> bool:
        """Put the generation if it is absent; True if it is ours."""
        name, began = self.table.name(self.key, self.generation), _uptime()
        won = self.table.objects.put_if_absent(name, self._beat(0))
        # a bucket may say "taken" to the very writer that took it, when an answer was lost
        if won or self._id_is_there(self.table):
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
        self._stop.set()
        self._thread.join()
        with suppress(StorageError):  # a lease that cannot be given back runs out
            self._give_back(self.table.at_once())

    def is_mine(self) -> bool:
        """Whether nobody has taken over since; to be asked before a commit."""
        return self._is_mine(self.table)

    @property
    def _is_fresh(self) -> bool:
        """Whether a write was confirmed so lately that no observer's patience can have ended."""
        return _uptime() - self._confirmed < self.table.time_to_live_s / 2

    def _is_mine(self, table: LeaseTable) -> bool:
        fresh = self._is_fresh
        newest = table.newest_number(self.key) == self.generation
        mine = newest and (fresh or self._id_is_there(table))
        self._lost = self._lost or not mine
        return mine

    def _id_is_there(self, table: LeaseTable) -> bool:
        return _fields(table.beat(self.key, self.generation)).get("lease") == self._id

    def _give_back(self, table: LeaseTable) -> None:
        if self._lost:
            return
        if self.generation == 0 and self._is_fresh:
            table.objects.delete(table.name(self.key, 0))
        elif self._is_mine(table):
            table.clear(self.key, self.generation)

    def _keep_beating(self) -> None:
        count, table = 0, self.table.at_once()
        name = table.name(self.key, self.generation)
        while not self._stop.wait(table.time_to_live_s / BEATS_PER_LIFE):
            count += 1
            began, fresh = _uptime(), self._is_fresh
            with suppress(StorageError):  # the next beat may get through
                if not fresh or count % LOOK_EVERY == 0:
                    if not self._is_mine(table):
                        return  # beating on would bring back what its successor has cleared
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
            "host": platform.node(),  # this and what follows is for people only
            "since": self._since,
            "at": _now(),
        }
        return json.dumps(fields).encode()


@final
class LeaseWatch:
    """An observer's memory of beats, by its own monotonic clock."""

    def __init__(self, table: LeaseTable, clock: Callable[[], float] = time.monotonic) -> None:
        self.table = table
        self._clock = clock
        self._seen: dict[str, tuple[int, str | None, float]] = {}
        self._blind_until = -float("inf")

    def is_free(self, key: str) -> bool:
        """Whether a stage could be leased now; expires an owner whose beat has stood still.

        Its patience is the longer of two times to live, the observer's and the owner's: who beats
        rarely is not dead. While the storage is out of reach nothing is free, and afterwards the
        patience with every owner starts again: the owners could not write either.
        """
        if self._clock() < self._blind_until:
            return False
        try:
            return self._look(self.table.at_once(), key)
        except StorageError:
            self._seen.clear()
            self._blind_until = self._clock() + BLIND_S
            return False

    def _look(self, table: LeaseTable, key: str) -> bool:
        newest, expired = table.newest(key)
        if newest is None or expired:
            self._seen.pop(key, None)
            return True
        beat, now = table.beat(key, newest), self._clock()
        generation, last, since = self._seen.get(key, (-1, None, now))
        if (generation, last) != (newest, beat):
            self._seen[key] = (newest, beat, now)
            return False
        patience = max(table.time_to_live_s, time_to_live_of(_fields(beat)))
        if now - since < patience:
            return False
        table.expire(key, newest, beat)
        return True


def time_to_live_of(fields: Mapping[str, Any]) -> float:
    """Return the time to live that a lease states; 0 if it states none that can hold.

    One that is not finite would let no lease expire, or all of them at once.
    """
    stated = fields.get("time_to_live_s")
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return 0.0
    return float(stated) if 0 < stated <= LONGEST_LIFE_S else 0.0


def _now() -> str:
    """Return the time of this machine's clock; nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _newest_of(names: list[str]) -> int | None:
    """The greatest number among the names of leases."""
    return max((int(name) for name in names if _is_number(name)), default=None)


def _is_up_to(name: str, generation: int) -> bool:
    """Whether `3` or `3.expired` is about this generation or an earlier one."""
    return int(name.removesuffix(".expired")) <= generation


def _is_number(name: str) -> bool:
    """Whether a name is that of a generation; a storage may hold files of other programs."""
    return name.isascii() and name.isdigit()


def _fields(beat: str | None) -> dict[str, Any]:
    """What a beat says; nothing if it was given back or is not what was written."""
    try:
        fields = json.loads(beat or "")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
