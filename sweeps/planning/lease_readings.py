"""Read-only view of leases: their owners, and the signs of life of drivers.

This module declares no lease expired; only a process that requests a lease does so. Wall times in
a lease are from the clock of its owner, so differences are computed only between two times of the
same lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, final

from clmethods.json_parsing import parse_json_object
from sweeps.stages.lease_watch import time_to_live_of
from sweeps.stages.leases import BEATS_PER_LIFE
from sweeps.storage import MissingObjectError, ObjectStore

READERS = 8
"""Number of leases fetched at once."""
MISSED_BEATS = 3
"""Number of beats that a driver may miss before it counts as silent."""
LATENCY_S = 1.0
"""Seconds added to that limit, for a slow storage."""
SHORTEST_PAUSE_S = 0.02
"""Seconds between two reads of leases that specify no time to live."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Last data that the owner of a lease wrote."""

    name: str
    """Key of the lease."""
    key: str
    """Key of the leased stage, or id of the driver."""
    owner: str
    host: str
    """Host name; empty for a lease of an earlier version of this code."""
    since: datetime | None
    at: datetime | None
    """Time at which it was written."""
    number: int
    time_to_live_s: float

    @property
    def held_s(self) -> float | None:
        """Return the seconds for which the lease has been held."""
        if self.since is None or self.at is None:
            return None
        return max(0.0, (self.at - self.since).total_seconds())


class Sign(StrEnum):
    """Result of a second read of the lease of a driver."""

    ALIVE = "alive"
    SILENT = "silent"
    """Its beat does not change: the driver was killed, or cannot reach the storage."""
    ENDED = "ended"
    """It returned its lease."""


class Beats(NamedTuple):
    """Leases of a folder."""

    by_key: dict[str, Beat]
    """Last heartbeats, by the key of the leased item."""
    unreadable: dict[str, str]
    """One sentence for each lease that is damaged, by its key in the storage."""


def read_beats(
    objects: ObjectStore, folder: str, chosen: Callable[[str], bool] = lambda key: True
) -> Beats:
    """Return the leases of a folder that were not declared expired.

    `chosen`: selects the leases to read; each takes one request.
    """
    generations: dict[str, set[str]] = {}
    for name in objects.list(folder):
        key, _, generation = name.removeprefix(f"{folder}/").rpartition("/")
        generations.setdefault(key, set()).add(generation)
    names = {}
    for key, found in generations.items():
        newest = max((int(g) for g in found if g.isascii() and g.isdigit()), default=None)
        if newest is not None and f"{newest}.expired" not in found and chosen(key):
            names[key] = f"{folder}/{key}/{newest}"
    with ThreadPoolExecutor(READERS) as pool:
        data = dict(
            zip(names, pool.map(lambda name: _data(objects, name), names.values()), strict=True)
        )
    beats = {
        key: _beat_in(found, key, names[key]) for key, found in data.items() if found is not None
    }
    return Beats(
        {key: beat for key, beat in beats.items() if beat is not None},
        {names[key]: _unreadable_text(names[key]) for key, beat in beats.items() if beat is None},
    )


def read_beat(objects: ObjectStore, key: str, name: str) -> Beat | None:
    """Return one lease; None if it was returned or is not valid."""
    data = _data(objects, name)
    return None if data is None else _beat_in(data, key, name)


def _data(objects: ObjectStore, name: str) -> bytes | None:
    try:
        return objects.get(name)
    except MissingObjectError:
        return None


def _unreadable_text(name: str) -> str:
    return (
        f"{name} is left out: it is not a lease. A process that is alive writes it again within "
        "seconds; remove it if there is none"
    )


def _beat_in(data: bytes, key: str, name: str) -> Beat | None:
    fields = parse_json_object(data)
    if fields is None or not isinstance(fields.get("owner"), str):
        return None
    number = fields.get("beat")
    return Beat(
        name=name,
        key=key,
        owner=str(fields.get("owner", "")),
        host=str(fields.get("host", "")),
        since=_time(fields.get("since")),
        at=_time(fields.get("at")),
        number=number if isinstance(number, int) else 0,
        time_to_live_s=time_to_live_of(fields),
    )


def look_again(
    objects: ObjectStore,
    first: Iterable[Beat],
    started: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, tuple[Sign, Beat]]:
    """Read leases again until each has changed, is gone, or has not changed for too long.

    `started`: time of the first read, by `clock`. Returns the sign and the last beat of each
    lease, by name.
    """
    waiting = {beat.name: beat for beat in first}
    found: dict[str, tuple[Sign, Beat]] = {}
    while waiting:
        for name, before in [*waiting.items()]:
            period = before.time_to_live_s / BEATS_PER_LIFE
            waited = clock() - started
            now = read_beat(objects, before.key, name)
            if now is None:
                found[name] = Sign.ENDED, before
            elif now != before:
                found[name] = Sign.ALIVE, now
            elif waited >= MISSED_BEATS * period + LATENCY_S:
                found[name] = Sign.SILENT, before
            else:
                continue
            del waiting[name]
        if waiting:
            shortest = min(beat.time_to_live_s for beat in waiting.values())
            sleep(max(SHORTEST_PAUSE_S, shortest / BEATS_PER_LIFE / 2))
    return found


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if found is None:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
