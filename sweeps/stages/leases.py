"""Leases: who computes a stage. A late twin is harmless, a lease only saves its work.

    leases/KEY/GENERATION            {"owner": ..., "beat": n}, rewritten by the owner
    leases/KEY/GENERATION.expired    an observer's verdict that the owner has stopped

A stage belongs to the owner of its newest generation. Whoever sees the beat of a generation stand
still for the time to live, by its own monotonic clock, may declare it expired; the next owner puts
the next generation if it is absent, so of several takers one wins. Wall clocks are never compared.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import final

from sweeps.storage import MissingObjectError, ObjectStore

TIME_TO_LIVE_S = 20.0
"""How long a beat must stand still before its owner counts as gone."""
BEATS_PER_LIFE = 8


@final
class LeaseTable:
    """All leases of a storage."""

    def __init__(self, objects: ObjectStore, time_to_live_s: float = TIME_TO_LIVE_S) -> None:
        self.objects = objects
        self.time_to_live_s = time_to_live_s

    def acquire(self, key: str, owner: str) -> Lease | None:
        """The lease of a stage, beating; None while somebody else has it."""
        newest, expired = self.newest(key)
        if newest is not None and not expired:
            return None
        generation = 0 if newest is None else newest + 1
        name = f"leases/{key}/{generation}"
        if not self.objects.put_if_absent(name, _beat(owner, 0)) and not self._owns(name, owner):
            return None
        return Lease(self, key, generation, owner)

    def newest(self, key: str) -> tuple[int | None, bool]:
        """(number of the newest generation or None, whether it was declared expired)."""
        names = [name.rsplit("/", 1)[1] for name in self.objects.list(f"leases/{key}")]
        numbers = [int(name) for name in names if name.isdigit()]
        newest = max(numbers, default=None)
        return newest, f"{newest}.expired" in names

    def beat(self, key: str, generation: int) -> str | None:
        """What the owner of a generation last wrote; None if the lease was given back."""
        try:
            return self.objects.get(f"leases/{key}/{generation}").decode()
        except MissingObjectError:
            return None

    def expire(self, key: str, generation: int) -> None:
        """Declare a generation's owner gone."""
        self.objects.put_if_absent(f"leases/{key}/{generation}.expired", b"{}")

    def expire_owned(self, key: str, owner: str) -> None:
        """Declare the newest generation expired if `owner`, known to be dead, holds it."""
        newest, expired = self.newest(key)
        if newest is None or expired:
            return
        if self._owns(f"leases/{key}/{newest}", owner):
            self.expire(key, newest)

    def clear(self, key: str) -> None:
        """Remove every generation: the stage is stored, or its owner gives it back."""
        for name in list(self.objects.list(f"leases/{key}")):
            self.objects.delete(name)

    def _owns(self, name: str, owner: str) -> bool:
        try:
            return bool(json.loads(self.objects.get(name))["owner"] == owner)
        except (MissingObjectError, ValueError, KeyError):
            return False


@final
class Lease:
    """The right to compute one stage, kept alive by a thread until the `with` block ends."""

    def __init__(self, table: LeaseTable, key: str, generation: int, owner: str) -> None:
        self.table, self.key, self.generation, self.owner = table, key, generation, owner
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

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
        if self.is_mine():
            self.table.clear(self.key)

    def is_mine(self) -> bool:
        """Whether nobody has taken over since; to be asked before a commit."""
        return self.table.newest(self.key)[0] == self.generation

    def _keep_beating(self) -> None:
        name = f"leases/{self.key}/{self.generation}"
        count = 0
        while not self._stop.wait(self.table.time_to_live_s / BEATS_PER_LIFE):
            count += 1
            self.table.objects.put(name, _beat(self.owner, count))


@final
class LeaseWatch:
    """An observer's memory of beats, by its own monotonic clock."""

    def __init__(self, table: LeaseTable, clock: Callable[[], float] = time.monotonic) -> None:
        self.table = table
        self._clock = clock
        self._seen: dict[str, tuple[int, str | None, float]] = {}

    def is_free(self, key: str) -> bool:
        """Whether a stage could be leased now; expires an owner whose beat has stood still."""
        newest, expired = self.table.newest(key)
        if newest is None or expired:
            self._seen.pop(key, None)
            return True
        beat, now = self.table.beat(key, newest), self._clock()
        generation, last, since = self._seen.get(key, (-1, None, now))
        if (generation, last) != (newest, beat):
            self._seen[key] = (newest, beat, now)
            return False
        if now - since < self.table.time_to_live_s:
            return False
        self.table.expire(key, newest)
        return True


def _beat(owner: str, count: int) -> bytes:
    return json.dumps({"owner": owner, "beat": count}).encode()
