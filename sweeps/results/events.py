"""Event log of a sweep: one JSON line per event, in objects that only their driver writes.

    sweeps/NAME/events/STAMP-RUN.NNNN.jsonl     STAMP: when the driver started; RUN: its id

The log serves people: an audit trail, and what `sweeps status` shows from another machine. No
decision is read from it. A line that a killed driver had not written yet is lost.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, final

from sweeps.storage import MissingObjectError, ObjectStore, is_storage_fault

FLUSH_EVERY_S = 10.0
"""How old a line may grow before it is written."""
OBJECT_BYTES = 256 * 1024
"""Size from which on a further object is begun. The last one is written anew at each flush."""


@final
@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log."""

    at: str
    """UTC time in ISO 8601, with milliseconds."""
    run: str
    """Id of the driver's run."""
    kind: str
    """Such as `stage` or `node_lost`; see `sweeps/README.md`."""
    fields: dict[str, Any]

    def line(self) -> str:
        """Return the event as one line of JSON."""
        return json.dumps({"at": self.at, "run": self.run, "event": self.kind, **self.fields})


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
        self._stem = f"sweeps/{sweep}/events/{datetime.now(UTC):%Y%m%dT%H%M%S}-{run}"
        self._number = 0
        self._lines: list[str] = []
        self._size = 0
        self._due = math.inf

    def add(self, kind: str, **fields: Any) -> None:
        """Record an event. Values must be plain: texts, numbers, flags, lists."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = Event(at, self.run, kind, fields).line()
        self._lines.append(line)
        self._size += len(line) + 1
        self._due = min(self._due, self._clock() + FLUSH_EVERY_S)

    def flush(self, force: bool = False) -> None:
        """Write what is due. If the storage fails, try again later: no sweep ends for its log."""
        if not self._lines or (self._clock() < self._due and not force):
            return
        key = f"{self._stem}.{self._number:04}.jsonl"
        try:
            self._objects.put(key, ("\n".join(self._lines) + "\n").encode())
        except Exception as error:
            if not is_storage_fault(error) and not isinstance(error, OSError):
                raise
            self._due = self._clock() + FLUSH_EVERY_S
            return
        self._due = math.inf
        if self._size >= OBJECT_BYTES:
            self._number, self._lines, self._size = self._number + 1, [], 0


def read_events(objects: ObjectStore, sweep: str) -> Iterator[Event]:
    """Yield the events of all runs, each run's in order. Lines that are no JSON are left out."""
    for key in objects.list(f"sweeps/{sweep}/events"):
        if not key.endswith(".jsonl"):
            continue
        try:
            text = objects.get(key).decode(errors="replace")
        except MissingObjectError:
            continue
        for line in text.splitlines():
            event = _parsed(line)
            if event is not None:
                yield event


def _parsed(line: str) -> Event | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not {"at", "run", "event"} <= found.keys():
        return None
    at, run, kind = (str(found.pop(name)) for name in ("at", "run", "event"))
    return Event(at, run, kind, found)
