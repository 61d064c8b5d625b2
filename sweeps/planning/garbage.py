"""Stages that no sweep of a storage needs any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import final

from sweeps.definition import Sweep
from sweeps.planning.stage_tree import StageTree
from sweeps.results import read_table
from sweeps.search.stored_observations import current_step
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore, folder
from sweeps.storage import ObjectStore


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


def find_garbage(store: StageStore, needed: Collection[str]) -> Garbage:
    """Look through the storage for stages that are not `needed`; deletes nothing."""
    sizes: dict[str, int] = {}
    for name, size in store.objects.sizes("stages"):
        key = name.split("/")[2]
        sizes[key] = sizes.get(key, 0) + size
    leases = LeaseTable(store.objects)
    loose = sorted(sizes.keys() - set(needed))
    leased = [key for key in loose if _is_leased(leases, key)]
    stages = [key for key in loose if key not in set(leased)]
    return Garbage(
        stages=tuple(stages),
        size=sum(sizes[key] for key in stages),
        leased=tuple(leased),
        needed=len(sizes) - len(loose),
    )


def delete_stages(store: StageStore, garbage: Garbage) -> None:
    """Delete what was found. A stage's marker goes first: without it the stage does not exist."""
    for key in garbage.stages:
        names = list(store.objects.list(folder(key)))
        marker = f"{folder(key)}/stage.json"
        store.objects.delete(marker)
        store.objects.delete_all([name for name in names if name != marker])


def _is_leased(leases: LeaseTable, key: str) -> bool:
    newest, expired = leases.newest(key)
    return newest is not None and not expired
