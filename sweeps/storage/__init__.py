"""Where everything that a sweep keeps is stored: one small port over files and buckets."""

from sweeps.storage.objects import MissingObjectError, ObjectStore, open_storage

__all__ = ["MissingObjectError", "ObjectStore", "open_storage"]
