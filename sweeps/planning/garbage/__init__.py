"""Garbage collection: stages that no sweep of a storage needs."""

from sweeps.planning.garbage.recorded_stages import RecordedStages, recorded_stages, unverifiable
from sweeps.planning.garbage.stage_deletion import Deletion, delete_stages
from sweeps.planning.garbage.stage_search import (
    Garbage,
    StoredStage,
    find_garbage,
    needed_stages,
    owner_sweeps,
    stored_stages,
    stored_sweeps,
)

__all__ = [
    "Deletion",
    "Garbage",
    "RecordedStages",
    "StoredStage",
    "delete_stages",
    "find_garbage",
    "needed_stages",
    "owner_sweeps",
    "recorded_stages",
    "stored_stages",
    "stored_sweeps",
    "unverifiable",
]
