"""Search for stages that no sweep of a storage needs and no row of a result table names.

The stages are listed first, and the sweep files are read after that: a stage that a later sweep
trains is not in the list.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, final

from sweeps.definition import Sweep, stored_sweep
from sweeps.definition.file.stored_file import refuse_lost
from sweeps.planning.deletion_guard import RUNNING
from sweeps.planning.stage_tree import StageTree
from sweeps.results import read_table
from sweeps.results.result_parts import READERS
from sweeps.search.stored_observations import read_step
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.storage import MissingObjectError, ObjectStore
from sweeps.storage.key_layout import RECORDS, records_of, stage_and_file


@final
@dataclass(frozen=True, slots=True)
class StoredStage:
    """Stage in a storage, finished or half-written."""

    size: int
    """Bytes of its files, including evaluations."""
    modified: datetime
    """Time of the last write, by the clock of the storage."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """Stages that a collection would delete, and stages that it keeps."""

    stages: Mapping[str, StoredStage]
    """Stages, stored or half-written, that no sweep needs, by key."""
    recorded: Mapping[str, StoredStage]
    """Unneeded stages that are kept because a row of a result table names them."""
    leased: tuple[str, ...]
    """Keys of unneeded stages that are kept because a worker holds their lease."""
    needed: int
    """Number of stages in the storage that some sweep needs."""

    @property
    def with_recorded(self) -> Garbage:
        """Return the garbage if the stages that rows name may be deleted, too."""
        return Garbage(
            stages={**self.stages, **self.recorded},
            recorded={},
            leased=self.leased,
            needed=self.needed,
        )


def stored_sweeps(objects: ObjectStore) -> list[Sweep]:
    """Return every sweep of a storage, as its last run requested it.

    Raises `InvalidConfigError` for a sweep whose file was changed, damaged or lost: the stages
    that it needs are unknown. A folder with a lease of a driver is a sweep, too.
    """
    found: list[Sweep] = []
    for name in objects.folders("sweeps"):
        try:
            found.append(stored_sweep(objects, name))
        except MissingObjectError:
            refuse_lost(objects, name, records_of(objects, name, (*RECORDS, RUNNING)))
    return found


class NeededStages(NamedTuple):
    """Stages that sweeps require."""

    keys: frozenset[str]
    left_out: dict[str, str]
    """One sentence for each damaged object without which they were determined, by its key."""


def needed_stages(sweeps: Collection[Sweep], objects: ObjectStore) -> NeededStages:
    """Return the keys of every stage that the sweeps require, including ancestors.

    The stages that a sweep requires may depend on its results. While a sweep is not finished,
    every stage that it has ever used is kept: if an evaluation is damaged, the later stages of the
    sweep are temporarily unknown.
    """
    keys: set[str] = set()
    left_out: dict[str, str] = {}
    for sweep in sweeps:
        step, unread = read_step(sweep, objects)
        left_out |= unread
        keys.update(StageTree.of(step.trials, step.lengths).nodes)
        if not step.finished:
            keys.update(_used(sweep, objects))
    return NeededStages(frozenset(keys), left_out)


def _used(sweep: Sweep, objects: ObjectStore) -> list[str]:
    """Return the keys of the stages that are in a sweep's table."""
    keys: list[str] = read_table(objects, sweep.name, "stages").table["stage_key"].to_pylist()
    return keys


def stored_stages(objects: ObjectStore) -> dict[str, StoredStage]:
    """Return every stage, stored or half-written, by its key."""
    stages: dict[str, StoredStage] = {}
    for entry in objects.entries("stages"):
        if (found := stage_and_file(entry.key)) is not None:
            before = stages.get(found[0], StoredStage(0, entry.modified))
            newest = max(before.modified, entry.modified)
            stages[found[0]] = StoredStage(before.size + entry.size, newest)
    return stages


def find_garbage(
    objects: ObjectStore,
    stored: Mapping[str, StoredStage],
    needed: Collection[str],
    recorded: Collection[str],
) -> Garbage:
    """Return the listed stages that are not needed; delete nothing.

    `stored`: from `stored_stages`, called before the needed stages were read. `recorded`: stages
    that rows name; see `recorded_stages`.
    """
    leases = LeaseTable(objects)
    loose = sorted(stored.keys() - set(needed))
    leased = tuple(key for key in loose if is_leased(leases, key))
    kept = {*leased, *recorded}
    return Garbage(
        stages={key: stored[key] for key in loose if key not in kept},
        recorded={key: stored[key] for key in loose if key in recorded and key not in leased},
        leased=leased,
        needed=len(stored) - len(loose),
    )


def owner_sweeps(store: StageStore, keys: Collection[str]) -> dict[str, str]:
    """Return the sweep that trained each stage; empty for a stage that is not finished."""
    with ThreadPoolExecutor(READERS) as pool:
        costs = pool.map(store.cost, keys)
        return {key: str(cost.get("sweep", "")) for key, cost in zip(keys, costs, strict=True)}


def is_leased(leases: LeaseTable, key: str) -> bool:
    """Return True if a worker holds the lease of a stage."""
    newest, expired = leases.newest(key)
    return newest is not None and not expired
