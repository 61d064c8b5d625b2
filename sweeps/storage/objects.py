"""Object store: bytes under keys, in a local directory, a shared file system or a bucket.

Coordination between processes relies on two guarantees, which `obstore` provides on all backends.
An object appears completely or not at all. If several writers put the same key if absent, exactly
one succeeds. On file systems, the first guarantee is a temporary file that is renamed. The second
is a temporary file with a hard link, which fails if the name is taken.

Every operation is retried for `options.retry_for_s` seconds while the storage is unreachable; see
`patience`. If the retries fail, and if a storage refuses an operation, a `StorageError` is raised.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, final

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from sweeps.errors import SweepsError
from sweeps.storage.backends import LARGE, PART, PARTS_AT_ONCE, Backend
from sweeps.storage.errors import Kind, StorageRefusedError
from sweeps.storage.failure_kinds import says_conflict, says_no_bucket, says_no_file
from sweeps.storage.local_listing import (
    is_special,
    local_files,
    local_folders,
    local_stats,
    non_files,
)
from sweeps.storage.object_cache import RecentObjects
from sweeps.storage.options import StorageOptions
from sweeps.storage.patience import BACKEND_ERRORS, OutageNotice, Patience

T = TypeVar("T")
_SEGMENT = re.compile(r"[A-Za-z0-9._=+-]+")


class MissingObjectError(SweepsError, KeyError):
    """Raised if there is no object under `key`."""

    def __init__(self, key: str, location: str) -> None:
        super().__init__(key, location)
        self.key = key
        self.location = location

    def __str__(self) -> str:
        return f"no object {self.key} in {self.location}"


@final
@dataclass(frozen=True, slots=True)
class StoredObject:
    """Object of a listing."""

    key: str
    size: int
    modified: datetime
    """Time of the last write, by the clock of the storage."""


@final
class ObjectStore:
    """Bytes under relative keys such as `sweeps/demo/results/trials/ab-1.parquet`.

    A key consists of segments of letters, digits and `._=+-`, joined by `/`. Such keys are safe on
    every backend. Keys are relative, so storage can be moved. Any other key raises ValueError.
    """

    def __init__(self, backend: Backend, patience: Patience, recent: RecentObjects) -> None:
        """Use `open_storage` instead of this constructor."""
        self._backend, self._patience = backend, patience
        self.recent = recent
        """Cache of immutable objects that need not be fetched again; see `get_immutable`."""

    @property
    def location(self) -> str:
        """Location without secrets. With `options`, `open_storage` opens the same storage."""
        return self._backend.location

    @property
    def is_directory(self) -> bool:
        """True for a local directory, which may have different contents on every machine."""
        return "://" not in self.location

    @property
    def _directory(self) -> str | None:
        """Directory of a local storage; None for a bucket, and for a storage in memory."""
        return self._backend.file_system if isinstance(self._backend.quick, LocalStore) else None

    @property
    def options(self) -> StorageOptions:
        """Options in force, for `open_storage` on another node."""
        return self._backend.options

    @property
    def advises_sweep_file(self) -> bool:
        """True if a sweep file was read, whose section `storage` can correct the settings."""
        return self._backend.sweep_file

    @property
    def access(self) -> str:
        """Endpoint, region and source of the keys for messages; empty for a directory."""
        return self._backend.access

    def reporting_outages_to(self, notify: Callable[[str], None]) -> AbstractContextManager[None]:
        """Report the beginning and the end of outages to one more listener for a block."""
        return self._patience.notice.reporting_to(notify)

    def __repr__(self) -> str:
        return f"ObjectStore({self.location!r})"

    def without_retries(self) -> ObjectStore:
        """Return the same storage without retries; an operation raises at once in an outage."""
        return ObjectStore(self._backend, self._patience.once(), self.recent)

    def on_first_contact(self) -> ObjectStore:
        """Return the same storage, without retries of probable errors in the settings."""
        patience = self._patience.except_for(Kind.UNKNOWN_HOST, Kind.NO_KEYS)
        return ObjectStore(self._backend, patience, self.recent)

    def get_immutable(self, key: str) -> bytes:
        """Return the bytes of an object whose key determines its content, like `get`.

        This process fetches the object once, unless it is too large. A caller that finds the bytes
        damaged calls `recent.drop`.
        """
        data = self.recent.get(key)
        if data is None:
            data = self.get(key)
            self.recent.keep(key, data)
        return data

    def get(self, key: str) -> bytes:
        """Return the object's bytes. Raises `MissingObjectError`."""
        store, name = self._backend.quick, _checked(key)

        def attempt() -> bytes | None:
            return None if self._is_special(name) else bytes(obstore.get(store, name).bytes())

        found = self._run(f"read {key}", attempt)
        if found is None:
            raise MissingObjectError(key, self.location)
        return found

    def put(self, key: str, data: bytes) -> None:
        """Store `data` and replace an existing object; readers get all old or all new bytes."""
        name = _checked(key)
        self.recent.drop(key)
        large = len(data) > LARGE
        store = self._backend.bulk if large else self._backend.quick

        def attempt() -> bool:
            obstore.put(
                store,
                name,
                data,
                use_multipart=large and len(data) > PART,
                chunk_size=PART,
                max_concurrency=PARTS_AT_ONCE,
            )
            return True

        if self._run(f"write {key}", attempt) is None:
            raise self._vanished(f"write {key}")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store `data` unless the key is taken; return True for the one writer that stored it.

        If an answer was lost and the operation is retried, the writer that won may get False.
        Therefore False means "taken", not "taken by another writer"; a caller that must know reads
        the object.
        """
        name = _checked(key)
        store = self._backend.bulk if len(data) > LARGE else self._backend.quick

        def attempt() -> bool:
            try:
                obstore.put(store, name, data, mode="create")
            except AlreadyExistsError as error:
                if says_conflict(error):
                    raise
                return False
            return True

        won = self._run(f"write {key}", attempt)
        if won is None:
            raise self._vanished(f"write {key}")
        return won

    def exists(self, key: str) -> bool:
        """Return True if an object has exactly this key; a folder is not an object."""
        store, name = self._backend.quick, _checked(key)

        def attempt() -> bool:
            if self._is_special(name):
                return False
            obstore.head(store, name)
            return True

        return self._run(f"look for {key}", attempt) or False

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below the folder `prefix`, sorted; the empty prefix lists all.

        Keys are listed at any depth. Folders match by whole segments: `stages/a` does not list
        `stages/ab/x`. Files that are still being written are not listed. Files with names that are
        not valid keys are not listed either: they belong to other programs. `local_listing` states
        which links of a directory are followed.
        """
        directory = self._directory
        if directory is None:
            return (entry.key for entry in self.entries(prefix))
        folder = _folder(prefix) or ""

        def attempt() -> Iterator[str]:
            return iter(sorted(key for key, _ in local_files(directory, folder, _is_key)))

        return self._run(f"list {prefix or 'it'}", attempt) or iter(())

    def non_files(self, prefix: str) -> Sequence[str]:
        """Return the keys of a local storage in whose place there is no file; see `list`."""
        directory, folder = self._directory, _folder(prefix) or ""
        return [] if directory is None else non_files(directory, folder, _is_key)

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield the keys of `list` with the number of bytes of each object."""
        return ((entry.key, entry.size) for entry in self.entries(prefix))

    def entries(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects of `list`, with size and time."""
        folder = _folder(prefix)

        def attempt() -> Iterator[StoredObject]:
            if self._directory is not None:
                files = local_stats(self._directory, folder or "", _is_key)
                return iter(sorted((_local_object(*file) for file in files), key=lambda e: e.key))
            found = [
                StoredObject(str(entry["path"]), int(entry["size"]), entry["last_modified"])
                for chunk in obstore.list(self._backend.quick, folder, chunk_size=1000)
                for entry in chunk
                if _is_key(str(entry["path"]))
            ]
            return iter(sorted(found, key=lambda entry: entry.key))

        return self._run(f"list {prefix or 'it'}", attempt) or iter(())

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Return the sorted names of the folders directly below `prefix`; do not list contents."""
        folder = _folder(prefix)

        def attempt() -> tuple[str, ...]:
            if self._directory is not None:
                return tuple(local_folders(self._directory, folder or "", _is_key))
            found = obstore.list_with_delimiter(self._backend.quick, folder)
            names = (str(path).rsplit("/", 1)[-1] for path in found["common_prefixes"])
            return tuple(sorted(name for name in names if _is_key(name)))

        return self._run(f"list {prefix or 'it'}", attempt) or ()

    def free_bytes(self) -> int | None:
        """Return the bytes that a local file system has left for this user; None for a bucket."""
        directory = self._backend.file_system
        if not directory:
            return None
        return self._run("measure its space", lambda: shutil.disk_usage(directory).free)

    def delete(self, key: str) -> None:
        """Delete the object; do nothing if it does not exist."""
        self.delete_all([key])

    def delete_all(self, keys: Sequence[str]) -> None:
        """Delete objects in no particular order, on buckets up to 1000 of them per request."""
        names = [_checked(key) for key in keys]
        for name in names:
            self.recent.drop(name)
        if isinstance(self._backend.quick, LocalStore):
            for name in names:  # a file system stops at the first name of a list that is missing
                self._delete(name)
        elif names:
            self._delete(names if len(names) > 1 else names[0])

    def _delete(self, names: str | Sequence[str]) -> None:
        what = names if isinstance(names, str) else f"{len(names)} objects"

        def attempt() -> bool:
            obstore.delete(self._backend.quick, names)
            return True

        # neither buckets nor file systems report missing objects
        self._run(f"delete {what}", attempt)

    def move(self, source: str, target: str) -> None:
        """Rename an object and replace the object at `target`. Raises `MissingObjectError`.

        The operation is atomic on file systems. On buckets it is a copy followed by a deletion.
        """
        old, new = _checked(source), _checked(target)
        self.recent.drop(source)
        self.recent.drop(target)

        def attempt() -> bool:
            obstore.rename(self._backend.quick, old, new)
            return True

        if self._run(f"move {source}", attempt) is None:
            raise MissingObjectError(source, self.location)

    def _is_special(self, name: str) -> bool:
        """Return True for a pipe, a socket or a device, which could be read without end."""
        return self._directory is not None and is_special(os.path.join(self._directory, name))

    def _run(self, operation: str, attempt: Callable[[], T]) -> T | None:
        """Return the result of `attempt`, or None if the object does not exist."""

        def guarded() -> T | None:
            try:
                return attempt()
            except FileNotFoundError as error:
                if not says_no_bucket(error):
                    return None
            except BACKEND_ERRORS as error:
                if says_no_file(error):  # a link in a circle: no object, as a folder is none
                    return None
                raise
            raise StorageRefusedError(
                self.location, operation, Kind.NO_BUCKET, "the bucket does not exist"
            )

        return self._patience.run(operation, guarded)

    def _vanished(self, operation: str) -> StorageRefusedError:
        reason = "its folder does not exist"
        return StorageRefusedError(self.location, operation, Kind.NO_BUCKET, reason)


def new_object_store(backend: Backend, notify: Callable[[str], None]) -> ObjectStore:
    """Return an object store that retries as the backend's options specify."""
    limit = backend.options.retry_for_s
    notice = OutageNotice(backend.location, limit, notify)
    return ObjectStore(backend, Patience(backend.location, limit, notice), RecentObjects())


def _local_object(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _folder(prefix: str) -> str | None:
    return _checked(prefix.rstrip("/")) if prefix else None


def _checked(key: str) -> str:
    if not _is_key(key):
        raise ValueError(
            f"a key is relative, its segments made of letters, digits and ._=+-, got {key!r}"
        )
    return key


def _is_key(name: str) -> bool:
    return all(
        _SEGMENT.fullmatch(segment) and segment not in {".", ".."} for segment in name.split("/")
    )
