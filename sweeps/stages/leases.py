"""Leases: who computes a stage. A late twin is harmless, a lease only saves its work.

    leases/KEY/GENERATION            whose lease it is and a beat that counts up
    leases/KEY/GENERATION.expired    an observer's verdict that the owner has stopped

A stage belongs to the lease of its newest generation. Whoever sees its beat stand still for the
time to live, by its own monotonic clock, may declare it expired; the next owner puts the next
generation if it is absent, so of several takers one wins. Wall clocks are never compared.
"""

from __future__ import annotations

import json
import platform
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, final

from obstore.exceptions import BaseError

from sweeps.storage import MissingObjectError, ObjectStore

TIME_TO_LIVE_S = 20.0
"""How long a beat must stand still before its owner counts as gone."""
BEATS_PER_LIFE = 8

STORAGE_FAULTS = (BaseError, OSError)
"""What a storage raises that is out of reach for a moment."""


@final
class LeaseTable:
    """All leases of a storage."""

    def __init__(
        self,
        objects: ObjectStore,
        time_to_live_s: float = TIME_TO_LIVE_S,
        folder: str = "leases",
    ) -> None:
        self.objects = objects
        self.time_to_live_s = time_to_live_s
        self.folder = folder

    def acquire(self, key: str, owner: str) -> Lease | None:
        """The lease of a stage, to be entered; None while somebody else has it."""
        newest, expired = self.newest(key)
        if newest is not None and not expired:
            return None
        lease = Lease(self, key, 0 if newest is None else newest + 1, owner)
        return lease if lease.take() else None

    def newest(self, key: str) -> tuple[int | None, bool]:
        """(number of the newest generation or None, whether it was declared expired).

        A verdict that outlived its lease counts, so that the number after it is taken next.
        """
        names = [name.rsplit("/", 1)[1] for name in self.objects.list(f"{self.folder}/{key}")]
        numbers = [number for name in names if (number := _generation(name)) is not None]
        newest = max(numbers, default=None)
        return newest, f"{newest}.expired" in names

    def name(self, key: str, generation: int) -> str:
        """Where a generation's lease is kept."""
        return f"{self.folder}/{key}/{generation}"

    def beat(self, key: str, generation: int) -> str | None:
        """What the owner of a generation last wrote; None if the lease was given back."""
        try:
            return self.objects.get(self.name(key, generation)).decode(errors="replace")
        except MissingObjectError:
            return None

    def expire(self, key: str, generation: int) -> None:
        """Declare a generation's owner gone."""
        self.objects.put_if_absent(f"{self.name(key, generation)}.expired", b"{}")

    def expire_owned(self, key: str, owner: str) -> None:
        """Declare the newest generation expired if `owner`, known to be dead, holds it."""
        newest, expired = self.newest(key)
        if newest is None or expired:
            return
        if _fields(self.beat(key, newest)).get("owner") == owner:
            self.expire(key, newest)

    def clear(self, key: str, generation: int) -> None:
        """Remove the generations up to this one; a later one is somebody else's.

        Verdicts go before the lease they are about: it must not look free meanwhile.
        """
        names = sorted(
            self.objects.list(f"{self.folder}/{key}"),
            key=lambda name: not name.endswith(".expired"),
        )
        for name in names:
            number = _generation(name.rsplit("/", 1)[1])
            if number is not None and number <= generation:
                self.objects.delete(name)


@final
class Lease:
    """The right to compute one stage, kept alive by a thread until the `with` block ends."""

    def __init__(self, table: LeaseTable, key: str, generation: int, owner: str) -> None:
        self.table, self.key, self.generation, self.owner = table, key, generation, owner
        self._id = uuid.uuid4().hex  # numbers of generations come again once all are given back
        self._since = _now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def take(self) -> bool:
        """Put the generation if it is absent; True if it is ours."""
        name = self.table.name(self.key, self.generation)
        # a bucket may say "taken" to the very writer that took it, when an answer was lost
        return self.table.objects.put_if_absent(name, self._beat(0)) or self._holds()

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
        with suppress(*STORAGE_FAULTS):  # a lease that cannot be given back runs out
            if self.is_mine():
                self.table.clear(self.key, self.generation)

    def is_mine(self) -> bool:
        """Whether nobody has taken over since; to be asked before a commit."""
        return self.table.newest(self.key)[0] == self.generation and self._holds()

    def _holds(self) -> bool:
        return _fields(self.table.beat(self.key, self.generation)).get("lease") == self._id

    def _keep_beating(self) -> None:
        count, name = 0, self.table.name(self.key, self.generation)
        while not self._stop.wait(self.table.time_to_live_s / BEATS_PER_LIFE):
            count += 1
            with suppress(*STORAGE_FAULTS):  # the next beat may get through
                if not self.is_mine():
                    return  # beating on would bring back what its successor has cleared
                self.table.objects.put(name, self._beat(count))

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

    def is_free(self, key: str) -> bool:
        """Whether a stage could be leased now; expires an owner whose beat has stood still.

        Its patience is the longer of two times to live, the observer's and the owner's: who beats
        rarely is not dead.
        """
        newest, expired = self.table.newest(key)
        if newest is None or expired:
            self._seen.pop(key, None)
            return True
        beat, now = self.table.beat(key, newest), self._clock()
        generation, last, since = self._seen.get(key, (-1, None, now))
        if (generation, last) != (newest, beat):
            self._seen[key] = (newest, beat, now)
            return False
        theirs = _fields(beat).get("time_to_live_s")
        patience = max(self.table.time_to_live_s, theirs if isinstance(theirs, int | float) else 0)
        if now - since < patience:
            return False
        self.table.expire(key, newest)
        return True


def _now() -> str:
    """Return the time of this machine's clock; nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _generation(name: str) -> int | None:
    """The number in `3` and in `3.expired`; None for a name that is neither."""
    number = name.removesuffix(".expired")
    return int(number) if number.isdigit() else None


def _fields(beat: str | None) -> dict[str, Any]:
    """What a beat says; nothing if it was given back or is not what was written."""
    try:
        fields = json.loads(beat or "")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
