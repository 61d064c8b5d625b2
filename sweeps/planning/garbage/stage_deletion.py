"""Deletion of stages, one after the other, with a look before each of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import final

from sweeps.planning.deletion_guard import stage_users, user_leases
from sweeps.planning.garbage.stage_search import is_leased
from sweeps.stages.leases import Lease, LeaseTable
from sweeps.stages.stage_store import folder
from sweeps.storage import ObjectStore

LOOK_EVERY = 100
"""Number of deleted stages after which the drivers are listed again."""


@final
@dataclass(frozen=True, slots=True)
class Deletion:
    """Result of a deletion."""

    deleted: tuple[str, ...]
    """Keys of the deleted stages."""
    stopped: str = ""
    """Reason why it ended early; empty if it did not."""


def delete_stages(objects: ObjectStore, stages: Collection[str], lease: Lease) -> Deletion:
    """Delete stages that are not leased, under a lease from `deletion_lease`.

    The deletion ends early if the lease was lost, because this process did not run for a while, or
    if a driver was started. Drivers wait for the end of a deletion; those of earlier versions of
    this code do not. The marker of a stage is deleted first: without it the stage does not exist.
    """
    leases, known = LeaseTable(objects), user_leases(objects)
    deleted: list[str] = []
    for number, key in enumerate(stages):
        if number % LOOK_EVERY == 0 and user_leases(objects).keys() - known.keys():
            alive = stage_users(objects, known)
            if alive:
                return Deletion(tuple(deleted), f"{alive[0].text} has started")
        if not lease.is_still_mine():
            return Deletion(tuple(deleted), "this process did not run for longer than its lease")
        if is_leased(leases, key):
            continue
        names = list(objects.list(folder(key)))
        marker = f"{folder(key)}/stage.json"
        objects.delete(marker)
        objects.delete_all([name for name in names if name != marker])
        deleted.append(key)
    return Deletion(tuple(deleted))
