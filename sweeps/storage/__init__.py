"""Object storage of sweeps: bytes under keys, in directories, shared file systems and buckets."""

from sweeps.storage.checking import StorageCheck, check_storage, require_storage
from sweeps.storage.errors import (
    FULL,
    Kind,
    StorageError,
    StorageRefusedError,
    StorageUnreachableError,
    is_full,
    is_storage_fault,
    storage_error_in,
)
from sweeps.storage.locations import parse_storage_url
from sweeps.storage.objects import MissingObjectError, ObjectStore
from sweeps.storage.opening import open_for_planning, open_storage
from sweeps.storage.options import StorageOptions

__all__ = [
    "FULL",
    "Kind",
    "MissingObjectError",
    "ObjectStore",
    "StorageCheck",
    "StorageError",
    "StorageOptions",
    "StorageRefusedError",
    "StorageUnreachableError",
    "check_storage",
    "is_full",
    "is_storage_fault",
    "open_for_planning",
    "open_storage",
    "parse_storage_url",
    "require_storage",
    "storage_error_in",
]
