"""Event log of a sweep: one JSON line per event, in objects that only their driver writes.

    sweeps/NAME/events/STAMP-RUN.NNNN.jsonl     STAMP: start time of the driver; RUN: its id

The log is an audit trail, and the source of what `sweeps status` shows from another machine. No
decision depends on it. Lines that a killed driver had not written yet are lost.

Earlier versions wrote one object `STAMP.json` per run instead, with the whole sweep file. It is
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
from clmethods.json_parsing import parse_json_object
from sweeps.results.event_kinds import KINDS, EventBody, RunStarted, decoded, encoded
from sweeps.storage import MissingObjectError, ObjectStore, is_storage_fault

FLUSH_EVERY_S = 10.0
"""Seconds after which a new line is written."""
OBJECT_BYTES = 256 * 1024
"""Size after which a new object is started. The last object is rewritten at each flush."""
NO_TEXT = "\ufffd"
"""Character in place of bytes that are not UTF-8. The log is ASCII, so it holds none itself."""
READERS = 8
"""Number of objects fetched in parallel."""


@final
@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log."""

    at: str
    """UTC time in ISO 8601, with milliseconds, by the clock of the driver."""
    run: str
    """Id of the driver's run."""
    kind: str
    """Kind of the event, such as `stage` or `node_lost`; see `event_kinds`."""
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
        """Return `at` as a time; None if it is not a valid time."""
        try:
            at = datetime.fromisoformat(self.at)
        except ValueError:
            return None
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@final
class EventLog:
    """Buffer of the events of one run of a driver, written to the storage from time to time."""

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
        self._lock = threading.Lock()  # several threads record storage outages
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
        """Write the lines that are due.

        If the storage fails, the lines are written later: a failed write of the log never ends a
        sweep. `force`: write all lines now, and wait for the end of a storage outage.
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


@final
@dataclass(frozen=True, slots=True)
class StoredEvents:
    """Events of all runs of a sweep, and the damaged objects of its log."""

    events: tuple[Event, ...]
    """In order within each run."""
    left_out: Mapping[str, str]
    """One sentence for each object with lines that cannot be read, by its key."""


def read_events(objects: ObjectStore, sweep: str) -> Iterator[Event]:
    """Return the events of all runs, in order within each run, without damaged lines."""
    return iter(read_event_log(objects, sweep).events)


def read_event_log(objects: ObjectStore, sweep: str) -> StoredEvents:
    """Read the events of all runs, and name the objects with damaged lines.

    An event of a kind that only a later version of this code knows is no damage. A line that is
    repeated, as in a copy of an object, counts once.
    """
    folder = events_folder(sweep)
    keys = [key for key in objects.list(folder) if key.endswith((".jsonl", ".json"))]

    def read(key: str) -> str | None:
        try:
            return objects.get(key).decode(errors="replace")
        except MissingObjectError:
            return None  # deleted since it was listed

    events: list[Event] = []
    seen: set[str] = set()
    left_out: dict[str, str] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for key, text in zip(keys, pool.map(read, keys), strict=True):
            if text is None:
                continue
            lines = _lines_of(key, text)
            events += [event for line, event in lines if event is not None and line not in seen]
            seen.update(line for line, _ in lines)
            damaged = [n for n, (_, event) in enumerate(lines, 1) if not _is_intact(event)]
            if damaged or not lines:
                left_out[key] = _damage_text(key, damaged)
    for key in objects.non_files(folder):
        if key.endswith((".jsonl", ".json")):
            left_out[key] = f"{key} is left out: it is a folder, or a link that leads to no file"
    return StoredEvents(tuple(events), left_out)


def _lines_of(key: str, text: str) -> list[tuple[str, Event | None]]:
    """Return the lines of an object with their events; None for a line that is no event."""
    if key.endswith(".json"):
        event = _from_old_format(text, key.rpartition("/")[2].removesuffix(".json"))
        return [] if not _is_intact(event) else [(key, event)]
    return [(line, _parsed(line)) for line in text.splitlines()]


def _is_intact(event: Event | None) -> bool:
    if event is None or event.time is None:
        return False
    return event.kind not in KINDS or event.body is not None


def _damage_text(key: str, lines: list[int]) -> str:
    if not lines:
        return f"{key} is left out: it is not an event log; remove it or restore it from a copy"
    count = f"{len(lines)} line{'s' * (len(lines) > 1)}"
    return (
        f"{key}: {count} of the event log cannot be read (the first is line {lines[0]}) and "
        "are left out; restore the file from a copy or remove the lines"
    )


def _parsed(line: str) -> Event | None:
    fields = _json_object(line)
    if not {"at", "run", "event"} <= fields.keys():
        return None
    at, run, kind = (str(fields.pop(name)) for name in ("at", "run", "event"))
    return Event(at, run, kind, fields)


def _from_old_format(text: str, run: str) -> Event | None:
    """Return the start of a run that an earlier version of this code recorded."""
    record = _json_object(text)
    if "started_at" not in record:
        return None
    fields = {
        "document": short_id(record.get("sweep")),
        "code_version": record.get("code_version") or "unknown",
        "host_kind": record.get("host_kind"),
    }
    return Event(str(record["started_at"]), run, RunStarted.kind, fields)


def _json_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; empty if there is none, or if bytes were not UTF-8."""
    return {} if NO_TEXT in text else parse_json_object(text) or {}
