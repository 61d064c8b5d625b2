"""Where everything that a sweep keeps is stored: one small port over files and buckets."""

from sweeps.storage.faults import FULL, is_full, is_storage_fault
from sweeps.storage.objects import MissingObjectError, ObjectStore, open_storage

__all__ = [
    "FULL",
    "MissingObjectError",
    "ObjectStore",
    "is_full",
    "is_storage_fault",
    "open_storage",
]
