"""Event log of a sweep: one JSON line per event, in objects that only their driver writes.

    sweeps/NAME/events/STAMP-RUN.NNNN.jsonl     STAMP: when the driver started; RUN: its id

The log serves people: an audit trail, and what `sweeps status` shows from another machine. No
decision is read from it. A line that a killed driver had not written yet is lost.

Earlier versions wrote one object `STAMP.json` per run instead, with the whole sweep file; it is
read as the event `run_started`, with the checksum of that file.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, final

from clmethods.canonical import short_id
from sweeps.results.event_kinds import EventBody, RunStarted, decoded, encoded
from sweeps.storage import MissingObjectError, ObjectStore, is_storage_fault

FLUSH_EVERY_S = 10.0
"""How old a line may grow before it is written."""
OBJECT_BYTES = 256 * 1024
"""Size from which on a further object is begun. The last one is written anew at each flush."""
READERS = 8
"""Objects fetched at once."""


@final
@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log."""

    at: str
    """UTC time in ISO 8601, with milliseconds, by the clock of the driver."""
    run: str
    """Id of the driver's run."""
    kind: str
    """Such as `stage` or `node_lost`; see `event_kinds`."""
    fields: Mapping[str, Any]

    def line(self) -> str:
        """Return the event as one line of JSON."""
        return json.dumps({"at": self.at, "run": self.run, "event": self.kind, **self.fields})

    @property
    def body(self) -> EventBody | None:
        """Return the fields as the dataclass of their kind; None if this version has none."""
        return decoded(self.kind, self.fields)

    @property
    def time(self) -> datetime | None:
        """Return `at` as a time; None if it is none."""
        try:
            found = datetime.fromisoformat(self.at)
        except ValueError:
            return None
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@final
class EventLog:
    """Collects the events of one run of a driver and writes them now and then."""

    def __init__(
        self,
        objects: ObjectStore,
        sweep: str,
        run: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self._objects, self._clock = objects, clock
        self._stem = f"{events_folder(sweep)}/{datetime.now(UTC):%Y%m%dT%H%M%S}-{run}"
        self._number = 0
        self._lock = threading.Lock()  # outages are recorded by the thread that met them
        self._lines: list[str] = []
        self._size = 0
        self._due = math.inf

    def add(self, body: EventBody) -> None:
        """Record an event."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = Event(at, self.run, body.kind, encoded(body)).line()
        with self._lock:
            self._lines.append(line)
            self._size += len(line) + 1
            self._due = min(self._due, self._clock() + FLUSH_EVERY_S)

    def flush(self, force: bool = False) -> None:
        """Write what is due. If the storage fails, try again later: no sweep ends for its log.

        An outage is waited for with `force` only.
        """
        with self._lock:
            if self._due == math.inf or (self._clock() < self._due and not force):
                return
            written, self._due = tuple(self._lines), math.inf
        objects = self._objects if force else self._objects.without_retries()
        try:
            objects.put(
                f"{self._stem}.{self._number:04}.jsonl", ("\n".join(written) + "\n").encode()
            )
        except Exception as error:
            if not is_storage_fault(error) and not isinstance(error, OSError):
                raise
            with self._lock:
                self._due = self._clock() + FLUSH_EVERY_S
            return
        with self._lock:
            if self._size >= OBJECT_BYTES:
                self._number += 1
                self._lines = self._lines[len(written) :]
                self._size = sum(len(line) + 1 for line in self._lines)


def events_folder(sweep: str) -> str:
    """Return the folder of a sweep's log."""
    return f"sweeps/{sweep}/events"


def read_events(objects: ObjectStore, sweep: str) -> Iterator[Event]:
    """Yield the events of all runs, each run's in order. Lines that are no JSON are left out."""
    keys = [k for k in objects.list(events_folder(sweep)) if k.endswith((".jsonl", ".json"))]

    def read(key: str) -> str:
        try:
            return objects.get(key).decode(errors="replace")
        except MissingObjectError:
            return ""

    with ThreadPoolExecutor(READERS) as pool:
        for key, text in zip(keys, pool.map(read, keys), strict=True):
            if key.endswith(".json"):
                lines = [_of_old(text, key.rpartition("/")[2].removesuffix(".json"))]
            else:
                lines = [_parsed(line) for line in text.splitlines()]
            yield from (event for event in lines if event is not None)


def _parsed(line: str) -> Event | None:
    found = _mapping(line)
    if not {"at", "run", "event"} <= found.keys():
        return None
    at, run, kind = (str(found.pop(name)) for name in ("at", "run", "event"))
    return Event(at, run, kind, found)


def _of_old(text: str, run: str) -> Event | None:
    """Return the start of a run that an earlier version of this code recorded."""
    found = _mapping(text)
    if "started_at" not in found:
        return None
    fields = {
        "document": short_id(found.get("sweep")),
        "code_version": found.get("code_version") or "unknown",
        "host_kind": found.get("host_kind"),
    }
    return Event(str(found["started_at"]), run, RunStarted.kind, fields)


def _mapping(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
