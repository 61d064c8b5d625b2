"""Observer of leases: decides from heartbeats whether the owner of a stage has stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import final

from sweeps.stages.leases import LONGEST_LIFE_S, LeaseTable, beat_fields
from sweeps.storage import StorageError

BLIND_S = 5.0
"""Seconds that an observer waits after a storage error before it reads again."""


@final
class LeaseWatch:
    """Heartbeats that an observer has seen, timed by its own monotonic clock."""

    def __init__(self, table: LeaseTable, clock: Callable[[], float] = time.monotonic) -> None:
        self.table = table
        self._clock = clock
        self._seen: dict[str, tuple[int, str | None, float]] = {}
        self._blind_until = -float("inf")

    def is_free(self, key: str) -> bool:
        """Return True if a stage can be leased now; declare a stopped owner expired.

        An owner has stopped if its heartbeat has not changed for the longer of two times to live,
        the observer's and the owner's: an owner that writes rarely is not dead. While the storage
        is unreachable no stage is free. Afterwards the measurement starts again for every owner,
        because the owners could not write either.
        """
        if self._clock() < self._blind_until:
            return False
        try:
            return self._look(self.table.without_retries(), key)
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
        timeout = max(table.time_to_live_s, time_to_live_of(beat_fields(beat)))
        if now - since < timeout:
            return False
        table.expire(key, newest, beat)
        return True


def time_to_live_of(fields: Mapping[str, object]) -> float:
    """Return the time to live that a lease states; 0 if it states none that can hold.

    One that is not finite would let no lease expire, or all of them at once.
    """
    stated = fields.get("time_to_live_s")
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return 0.0
    return float(stated) if 0 < stated <= LONGEST_LIFE_S else 0.0
