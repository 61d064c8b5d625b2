"""Garbage collection: stages that no sweep of a storage needs.

Sweeps may start while stages are collected. Therefore the stages are listed first, and the sweep
files are read after that: a stage that a later sweep trains is not in the list. Directly before
the deletion, the drivers and the sweep files are read again, because a sweep that has started in
the meantime may reuse unneeded stages. A driver writes its sweep file before it plans.
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
"""Number of deleted stages after which the drivers are listed again."""

Drivers = Mapping[str, tuple[str, ...]]
"""Ids of the drivers of each sweep, including dead drivers."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """Stages that a collection would delete, and stages that it keeps."""

    stages: tuple[str, ...]
    """Keys of the stages, stored or half-written, that no sweep needs."""
    size: int
    """Bytes of these stages, including evaluations."""
    leased: tuple[str, ...]
    """Keys of unneeded stages that are kept because a worker holds their lease."""
    needed: int
    """Number of stages in the storage that some sweep needs."""


def stored_sweeps(objects: ObjectStore) -> list[Sweep]:
    """Return every sweep of a storage, as its last run requested it."""
    found: list[Sweep] = []
    for name in sweep_names(objects):
        try:
            found.append(stored_sweep(objects, name))
        except MissingObjectError:
            continue  # it was removed in the meantime
    return found


def needed_stages(sweeps: Collection[Sweep], objects: ObjectStore) -> frozenset[str]:
    """Return the keys of every stage that the sweeps require, including ancestors.

    The stages that a sweep requires may depend on its results. While a sweep is not finished,
    every stage that it has ever used is kept: if an evaluation is damaged, the later stages of the
    sweep are temporarily unknown.
    """
    keys: set[str] = set()
    for sweep in sweeps:
        step = current_step(sweep, objects)
        keys.update(StageTree.of(step.trials, step.lengths).nodes)
        if not step.finished:
            keys.update(_used(sweep, objects))
    return frozenset(keys)


def _used(sweep: Sweep, objects: ObjectStore) -> list[str]:
    """Return the keys of the stages that are in a sweep's table."""
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
    """Return the listed stages that are not `needed`; delete nothing.

    `sizes`: from `stage_sizes`, called before the needed stages were read.
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
    """Delete the stages in `garbage` that are still unneeded and not leased; return their keys.

    Raises `InvalidConfigError` while a driver is alive whose sweep file is not in the storage yet.
    The marker of a stage is deleted first: without it the stage does not exist.
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
    """Return the stages needed now; the sweep files are read after the drivers were listed."""
    sweeps = stored_sweeps(objects)
    _require_known(objects, drivers, [sweep.name for sweep in sweeps])
    return needed_stages(sweeps, objects)


def _drivers(objects: ObjectStore) -> Drivers:
    """Return the driver ids in `running/` of each sweep, with or without a sweep file."""
    return {name: objects.folders(f"sweeps/{name}/running") for name in objects.folders("sweeps")}


def _require_known(objects: ObjectStore, drivers: Drivers, stored: Collection[str]) -> None:
    """Raise if an alive driver runs another version of a sweep file than the stored one."""
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
