"""Stages that no sweep of a storage needs any more.

Sweeps may start while stages are collected. So the stages are listed first, and the sweep files
are read after that: a stage that a later sweep trains is not in the list. Right before the
deletion the drivers and the sweep files are read once more, as a sweep that has started meanwhile
may reuse what was garbage. A driver writes its sweep file before it plans.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition import Sweep, stored_document, stored_sweep
from sweeps.planning.driver_lock import version_of
from sweeps.planning.lease_readings import Sign, look_again, read_beats
from sweeps.planning.stage_tree import StageTree
from sweeps.results import read_table
from sweeps.results.load import sweep_names
from sweeps.search.stored_observations import current_step
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore, folder
from sweeps.storage import MissingObjectError, ObjectStore
from sweeps.storage.key_layout import stage_and_file

LOOK_EVERY = 100
"""Every so many stages the drivers are listed again while stages are deleted."""

Drivers = Mapping[str, tuple[str, ...]]
"""Ids of the drivers of each sweep, dead ones included."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """What a collection would delete, and what it leaves alone."""

    stages: tuple[str, ...]
    """Keys of stages, stored or half-written, that no sweep needs."""
    size: int
    """Their bytes, evaluations included."""
    leased: tuple[str, ...]
    """Not needed either, but somebody is at work on them: they stay."""
    needed: int
    """Stages in the storage that some sweep needs."""


def stored_sweeps(objects: ObjectStore) -> list[Sweep]:
    """Return every sweep of a storage, as its last run wants it."""
    found: list[Sweep] = []
    for name in sweep_names(objects):
        try:
            found.append(stored_sweep(objects, name))
        except MissingObjectError:
            continue  # it was removed meanwhile
    return found


def needed_stages(sweeps: Collection[Sweep], objects: ObjectStore) -> frozenset[str]:
    """Keys of every stage of every trial that the sweeps want, ancestors included.

    What a sweep wants may depend on its results. While it is not finished everything that it has
    ever used is kept: with a damaged evaluation its later wishes are unknown for the moment.
    """
    keys: set[str] = set()
    for sweep in sweeps:
        step = current_step(sweep, objects)
        keys.update(StageTree.of(step.trials, step.lengths).nodes)
        if not step.finished:
            keys.update(_used(sweep, objects))
    return frozenset(keys)


def _used(sweep: Sweep, objects: ObjectStore) -> list[str]:
    """Keys of the stages that are in a sweep's table."""
    keys: list[str] = read_table(objects, sweep.name, "stages").table["stage_key"].to_pylist()
    return keys


def stage_sizes(store: StageStore) -> dict[str, int]:
    """Return the bytes of every stage, stored or half-written, by its key."""
    sizes: dict[str, int] = {}
    for name, size in store.objects.sizes("stages"):
        if (found := stage_and_file(name)) is not None:
            sizes[found[0]] = sizes.get(found[0], 0) + size
    return sizes


def find_garbage(store: StageStore, sizes: Mapping[str, int], needed: Collection[str]) -> Garbage:
    """Return which of the listed stages are not `needed`; deletes nothing.

    `sizes`: from `stage_sizes`, called before what is needed was read.
    """
    leases = LeaseTable(store.objects)
    loose = sorted(sizes.keys() - set(needed))
    leased = {key for key in loose if _is_leased(leases, key)}
    stages = [key for key in loose if key not in leased]
    return Garbage(
        stages=tuple(stages),
        size=sum(sizes[key] for key in stages),
        leased=tuple(sorted(leased)),
        needed=len(sizes) - len(loose),
    )


def delete_stages(store: StageStore, garbage: Garbage) -> tuple[str, ...]:
    """Delete what was found, less what is needed or leased by now; return what was deleted.

    Raises `InvalidConfigError` while a driver is alive whose sweep file is not in the storage yet.
    A stage's marker goes first: without it the stage does not exist.
    """
    objects, leases = store.objects, LeaseTable(store.objects)
    drivers: Drivers | None = None
    needed: frozenset[str] = frozenset()
    deleted: list[str] = []
    for i, key in enumerate(garbage.stages):
        while i % LOOK_EVERY == 0 and drivers != (now := _drivers(objects)):
            drivers, needed = now, _needed_with(objects, now)
        if key in needed or _is_leased(leases, key):
            continue
        names = list(objects.list(folder(key)))
        marker = f"{folder(key)}/stage.json"
        objects.delete(marker)
        objects.delete_all([name for name in names if name != marker])
        deleted.append(key)
    return tuple(deleted)


def _needed_with(objects: ObjectStore, drivers: Drivers) -> frozenset[str]:
    """Return what is needed now; the drivers were listed before the sweep files are read here."""
    sweeps = stored_sweeps(objects)
    _require_known(objects, drivers, [sweep.name for sweep in sweeps])
    return needed_stages(sweeps, objects)


def _drivers(objects: ObjectStore) -> Drivers:
    """Return what is in `running/` of each sweep, whether it has a sweep file or not."""
    return {name: objects.folders(f"sweeps/{name}/running") for name in objects.folders("sweeps")}


def _require_known(objects: ObjectStore, drivers: Drivers, stored: Collection[str]) -> None:
    """Refuse while a driver is alive that runs another version of a sweep file than the stored."""
    started = time.monotonic()
    for name, keys in drivers.items():
        version = version_of(stored_document(objects, name)) if name in stored else None
        others = {key for key in keys if key.split(".")[0] != version}
        if not others:
            continue
        beats = read_beats(objects, f"sweeps/{name}/running", others.__contains__)
        seen = look_again(objects, beats.values(), started)
        alive = [beat for sign, beat in seen.values() if sign is Sign.ALIVE]
        if alive:
            where = f" on {alive[0].host}" if alive[0].host else ""
            constraint = "a storage on which no sweep is being started"
            hint = f"A driver of sweep {name!r} has just started{where}: try again in a minute."
            raise InvalidConfigError([ConfigIssue("STORAGE", objects.location, constraint, hint)])


def _is_leased(leases: LeaseTable, key: str) -> bool:
    newest, expired = leases.newest(key)
    return newest is not None and not expired
