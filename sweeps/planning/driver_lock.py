"""Checks before a driver starts: a name keeps its sweep, and a running sweep keeps its file."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import final

from clmethods.config import ConfigIssue, InvalidConfigError, canonical_json, short_id
from clmethods.strict_yaml import yaml_text
from sweeps.definition import Sweep, stored_document, sweep_of
from sweeps.definition.file.run_versions import version_name
from sweeps.definition.file.stored_file import sweep_file_name
from sweeps.errors import SweepsError
from sweeps.planning.deletion_guard import wait_for_deletion
from sweeps.planning.label_consistency import (
    Changed,
    Meaning,
    changed_meanings,
    meaning_of,
    meanings,
)
from sweeps.planning.lease_readings import read_beat
from sweeps.results import read_table
from sweeps.results.events import read_events
from sweeps.results.history import history_of
from sweeps.search.stored_observations import current_step
from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import Lease, LeaseTable
from sweeps.storage import MissingObjectError, ObjectStore, is_storage_fault

POLL_S = 0.2
"""Seconds between two reads of the beat of another driver."""
SHOWN = 12
"""Maximum number of changed fields that an error lists."""

Document = Mapping[str, object]


def refuse_other_meaning(sweep: Sweep, objects: ObjectStore) -> None:
    """Refuse a file that would change the meaning of the stored sweep of its name.

    The file may add configurations to the stored sweep, or remove some of them.

    Raises `InvalidConfigError` with a diff if a label that has rows would mean a different run,
    and if the two sweeps have no configuration in common. Without rows, any other file may replace
    the stored one: its run was refused, or stopped before a trial ended. If the stored file was
    lost, changed or damaged, the rows decide. Stages need no check, because the key of a stage is
    the hash of everything that determines it.
    """
    stored = _stored_document(objects, sweep.name)
    if stored is not None and _identity(stored) == _identity(sweep.document):
        return
    rows = _of_rows(objects, sweep.name)
    if not rows:
        return
    after = meanings(sweep) | _of_proposals(sweep, objects)
    changed = changed_meanings(rows, after)
    if changed:
        constraint = "a name under which every label keeps its meaning"
        raise InvalidConfigError([ConfigIssue("name", sweep.name, constraint, _hint(changed))])
    before = rows if stored is None else [*rows, *_of_file(stored)]
    searched = any(each.role == "search" for each in sweep.configurations)
    if searched and not _in_common(before, after):
        constraint = (
            f"a name that no other sweep of this storage has; the one there has configurations "
            f"such as {before[0][0]!r}, and this file wants none of them"
        )
        raise InvalidConfigError([ConfigIssue("name", sweep.name, constraint, f"{_NEW_NAME}.")])


def keep_sweep_file(sweep: Sweep, objects: ObjectStore) -> str:
    """Write the merged sweep file to the storage; return its checksum.

        sweeps/NAME/sweep.yaml                the file of the last run
        sweeps/NAME/versions/CHECKSUM.yaml    every version that was run, once

    The event log refers to a version by its checksum.
    """
    document = json.loads(json.dumps(sweep.document))
    checksum = short_id(document)
    text = yaml_text(document).encode()
    objects.put_if_absent(version_name(sweep.name, checksum), text)
    objects.put(sweep_file_name(sweep.name), text)
    return checksum


class SupersededError(SweepsError, InvalidConfigError):
    """Raised in a driver if another version of its sweep file was run in the meantime."""


@final
class Presence:
    """Lease of a driver that runs one version of a sweep file, and its right to write rows."""

    def __init__(self, lease: Lease, sweep: Sweep, objects: ObjectStore) -> None:
        self._lease, self._name, self._objects = lease, sweep.name, objects
        self._version = version_of(sweep.document)

    def release(self, wait_s: float | None = None) -> None:
        """Give the lease back, as `Lease.release` does."""
        self._lease.release(wait_s)

    def require_current(self) -> None:
        """Raise `SupersededError` if another version of the sweep file was run in the meantime.

        Check this before the row of a trial is written: in another version, the label of the row
        may mean another run. A driver loses its lease if its process was suspended for longer than
        the time to live. Without a lease, it may continue as long as the stored file is its own:
        drivers of one version write equal rows. Rows of stages need no check, because they follow
        from the key of the stage.
        """
        if self._lease.is_still_mine():
            return
        stored = _stored_document(self._objects, self._name)
        if stored is not None and version_of(stored) != self._version:
            constraint = "the version of the sweep file that was run last"
            hint = (
                "This process did not run for longer than its lease lasts, and another version "
                "of the file was run meanwhile. Rows of this version could contradict its rows. "
                "Run the version that you need again: its stages are stored."
            )
            issue = ConfigIssue("sweep file", self._name, constraint, hint)
            raise SupersededError([issue])


@contextmanager
def presence(
    sweep: Sweep,
    objects: ObjectStore,
    time_to_live_s: float,
    say: Callable[[str], None] = lambda message: None,
    run: str = "driver",
) -> Iterator[Presence]:
    """Hold a lease for the duration of the block, as a sign of a driver of this file version.

    Any number of drivers may run one file. `run`: id of the driver's run in the event log, from
    which `sweeps status` reads the details of the driver.

    Raises `InvalidConfigError` while a driver of another version is alive. A killed driver of
    another version is waited for until its lease expires, and a deletion of stages until its end.
    Leases of killed drivers of this version are removed at the end, if their beat has not changed
    since the start for as long as their leases last.
    """
    mine = version_of(sweep.document)
    table = LeaseTable(objects, time_to_live_s, f"sweeps/{sweep.name}/running")
    watch = LeaseWatch(table)
    lease = table.acquire(f"{mine}.{uuid.uuid4().hex}", run)
    if lease is None:
        raise RuntimeError("a driver's number that nobody else can have was taken")
    with lease:
        prefix = f"{table.folder}/"
        found = {name.removeprefix(prefix).split("/")[0] for name in objects.list(table.folder)}
        others = {key for key in found if not key.startswith(f"{mine}.")}
        _refuse_others(watch, others, sweep.name, say)
        wait_for_deletion(objects, time_to_live_s, say)
        beside = [key for key in found if key.startswith(f"{mine}.") and key != lease.key]
        for key in beside:
            watch.is_free(key)  # starts the measurement of its beat
        try:
            yield Presence(lease, sweep, objects)
        finally:
            _remove_dead(watch, beside)


def _remove_dead(watch: LeaseWatch, keys: Sequence[str]) -> None:
    """Remove the leases whose owners have stopped; if the storage fails now, they remain."""
    try:
        for key in keys:
            if watch.is_free(key):
                _remove(watch.table, key)
    except Exception as error:
        if not is_storage_fault(error) and not isinstance(error, OSError):
            raise


def _remove(table: LeaseTable, key: str) -> None:
    newest, _ = table.newest(key)
    if newest is not None:
        table.clear(key, newest)


def _refuse_others(
    watch: LeaseWatch, keys: Collection[str], name: str, say: Callable[[str], None]
) -> None:
    """Watch drivers of other versions until each has either sent a beat or expired."""
    table = watch.table
    waiting = {key: _beat(table, key) for key in keys}
    if waiting:
        say(
            "another version of this sweep file was run and not ended in order: "
            f"looking whether its driver is alive, up to {table.time_to_live_s:g} s"
        )
    while waiting:
        for key, first in [*waiting.items()]:
            if watch.is_free(key):
                _remove(table, key)
                del waiting[key]
            elif _beat(table, key) != first:
                constraint = (
                    "the file that is being run: a driver with another version of it is alive"
                )
                who = _driver_text(table, name, key)
                hint = f"{who}. Wait for it or stop it (Ctrl-C loses nothing), then run this one."
                raise InvalidConfigError([ConfigIssue("sweep file", name, constraint, hint)])
        if waiting:
            time.sleep(POLL_S)


def _beat(table: LeaseTable, key: str) -> str | None:
    newest, _ = table.newest(key)
    return None if newest is None else table.beat(key, newest)


def _driver_text(table: LeaseTable, name: str, key: str) -> str:
    """Return a description of a driver from its lease and, if present there, the event log."""
    newest = table.newest_number(key)
    beat = None if newest is None else read_beat(table.objects, key, table.name(key, newest))
    if beat is None:
        return "It has just ended"
    run = history_of(read_events(table.objects, name)).run(beat.owner)
    started = run.started if run is not None else None
    host = (started.host if started is not None else None) or beat.host or "an unknown host"
    user = f"{started.user}@" if started is not None and started.user else ""
    parts = [f"It runs on {user}{host}"]
    if started is not None and started.pid is not None:
        parts.append(f"process {started.pid}")
    if started is not None and started.file:
        parts.append(f"file {started.file}")
    return f"{', '.join(parts)} (run {beat.owner})"


def _stored_document(objects: ObjectStore, name: str) -> Document | None:
    """Return the stored sweep file; None if there is none that can be read."""
    try:
        found = stored_document(objects, name)
        _identity(found)
    except (MissingObjectError, InvalidConfigError, TypeError, ValueError, RecursionError):
        return None  # TypeError: a date or binary value, which no sweep file contains
    return found


def version_of(document: Document) -> str:
    """Return the id of a version of a sweep file; the names of its drivers begin with this id."""
    return short_id(_identity(document))


def _identity(document: Document) -> str:
    """Return the content of a file, without its sources and without the storage settings."""
    left_out = {"merged_from", "storage"}
    return canonical_json({k: v for k, v in document.items() if k not in left_out})


def _of_proposals(sweep: Sweep, objects: ObjectStore) -> dict[str, Meaning]:
    """Return the meanings of the labels that a model has proposed so far."""
    batches = current_step(sweep, objects).batches
    return {each.label: meaning_of(each.run) for batch in batches for each in batch.new}


def _of_rows(objects: ObjectStore, name: str) -> list[tuple[str, Meaning]]:
    """Return the runs that rows have under each label."""
    columns = ["label", "config_id", "class_order_seed", "split_seed", "run"]
    found: dict[tuple[object, ...], tuple[str, Meaning]] = {}
    for row in read_table(objects, name, "trials").table.select(columns).to_pylist():
        *key, run = row.values()
        if tuple(key) not in found:
            found[tuple(key)] = (row["label"], meaning_of(json.loads(run)))
    return [*found.values()]


def _of_file(document: Document) -> list[tuple[str, Meaning]]:
    """Return the runs that the stored file requests; empty if this version cannot read it."""
    try:
        return [*meanings(sweep_of(document)).items()]
    except InvalidConfigError:
        return []


def _in_common(before: Sequence[tuple[str, Meaning]], after: Mapping[str, Meaning]) -> bool:
    """Return True if the two have some run in common, under any label."""
    old = {canonical_json(meaning) for _, meaning in before}
    return any(canonical_json(meaning) in old for meaning in after.values())


_NEW_NAME = (
    "Give the sweep a new name: the sweeps of a storage share their stages, so nothing that "
    "stays the same is trained again"
)


def _hint(changed: Sequence[Changed]) -> str:
    """Return the diff with one field per line, and the possible remedies."""
    lines = [f"{_NEW_NAME}. Stored | this file:"]
    for each in changed[:SHOWN]:
        difference, (first, *others) = each.difference, each.labels
        more = f" and {len(others)} more" if others else ""
        old, new = canonical_json(difference.first), canonical_json(difference.second)
        lines.append(f"    {difference.path}: {old} | {new}   ({first}{more})")
    if len(changed) > SHOWN:
        lines.append(f"    and {len(changed) - SHOWN} more fields")
    return "\n".join(lines)
