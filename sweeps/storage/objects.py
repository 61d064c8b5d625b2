"""The object store: bytes under keys, in a local directory, a shared file system or a bucket.

Everything that several processes agree on rests on two promises, which `obstore` keeps on all
backends: an object appears whole or not at all, and of several writers that put the same key if
absent exactly one wins. On file systems the first is a file written aside and renamed, the second
the same with a hard link, which fails where the name is taken.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from clmethods.config.faults import Fault, InvalidConfigError

SCHEMES = ("s3", "gs", "memory")
"""URLs that are understood; `memory://` lives and dies with its `ObjectStore`, for tests."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SEGMENT = re.compile(r"[A-Za-z0-9._=+-]+")


class MissingObjectError(KeyError):
    """There is no object under `key`."""

    def __init__(self, key: str, location: str) -> None:
        super().__init__(key)
        self.key = key
        self.location = location

    def __str__(self) -> str:
        return f"no object {self.key} in {self.location}"


@final
class ObjectStore:
    """Bytes under relative keys such as `sweeps/demo/results/trials/ab-1.parquet`.

    A key is made of segments of letters, digits and `._=+-`, joined by `/`: that is safe on every
    backend and, since it is relative, storage can be moved. Any other key raises ValueError. What
    the backend itself reports (no space, no permission, no network after its own retries) passes
    through as `obstore.exceptions.BaseError` or OSError.
    """

    def __init__(self, backend: Any, location: str) -> None:
        """`backend` is a store of `obstore`; use `open_storage` unless you have one."""
        self._backend = backend
        self.location = location
        """What `open_storage` needs to open it again, with an absolute path if it is local."""

    def __repr__(self) -> str:
        return f"ObjectStore({self.location!r})"

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises `MissingObjectError`."""
        try:
            return bytes(obstore.get(self._backend, _checked(key)).bytes())
        except FileNotFoundError:
            raise MissingObjectError(key, self.location) from None

    def put(self, key: str, data: bytes) -> None:
        """Store `data`, in place of what was there; a reader sees the old or the new, whole."""
        obstore.put(self._backend, _checked(key), data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store `data` unless the key is taken; True for the one writer that stored it.

        A bucket whose answer was lost and asked again may say False to the writer that won, so
        False means "taken", not "taken by somebody else": read it where that matters.
        """
        try:
            obstore.put(self._backend, _checked(key), data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def exists(self, key: str) -> bool:
        """Whether there is an object under this very key; a folder is none."""
        try:
            obstore.head(self._backend, _checked(key))
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys below the folder `prefix`, at any depth, sorted; the empty prefix lists all.

        Folders match by whole segments: `stages/a` does not list `stages/ab/x`. Files that are
        still being written are not listed.
        """
        return (key for key, _ in self.sizes(prefix))

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """What `list` gives, with the bytes of each object."""
        folder = _checked(prefix.rstrip("/")) if prefix else None
        found = [
            (str(entry["path"]), int(entry["size"]))
            for chunk in obstore.list(self._backend, folder, chunk_size=1000)
            for entry in chunk
        ]
        return iter(sorted(found))

    def free_bytes(self) -> int | None:
        """What the file system of a local storage has left for this user; None for a bucket."""
        if not isinstance(self._backend, LocalStore):
            return None
        return shutil.disk_usage(self.location).free

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        try:
            obstore.delete(self._backend, _checked(key))
        except FileNotFoundError:
            return  # buckets do not tell, so files do not either

    def move(self, source: str, target: str) -> None:
        """Rename an object, in place of what `target` held. Raises `MissingObjectError`.

        Atomic on file systems; on buckets a copy and then a deletion.
        """
        try:
            obstore.rename(self._backend, _checked(source), _checked(target))
        except FileNotFoundError:
            raise MissingObjectError(source, self.location) from None


def open_storage(location: str, create: bool = True) -> ObjectStore:
    """Open the storage at a local directory or at a URL.

    `create`: make the directory where it is missing, and see that it can be written; without it
    the directory must exist and nothing is written.

    Raises `InvalidConfigError` (path `storage`) for a directory that cannot be created or written
    or that has no hard links, and for a URL that is not understood. A bucket is not contacted.
    """
    match = _SCHEME.match(location)
    return _open_url(location, match[1]) if match else _open_directory(location, create)


def _open_url(location: str, scheme: str) -> ObjectStore:
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise _refusal(location, f"a local directory or a URL that starts with {known}")
    try:
        return ObjectStore(from_url(location), location)
    except (BaseError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _refusal(location, f"a {scheme}:// URL with a bucket", reason) from error


def _open_directory(location: str, create: bool) -> ObjectStore:
    if not location.strip():
        raise _refusal(location, "a directory or a URL")
    root = Path(location).expanduser().resolve()
    if not create:  # for readers: nothing is written, not even to try it
        if not root.is_dir():
            raise _refusal(location, "an existing directory")
        return ObjectStore(LocalStore(str(root)), str(root))
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=root) as probe:
            written = Path(probe, "written")
            written.touch()
            os.link(written, Path(probe, "linked"))  # what put_if_absent rests on
    except OSError as error:
        allowed = "a directory that can be created and written, on a file system with hard links"
        raise _refusal(location, allowed, f"{error.strerror or error} ({root})") from error
    return ObjectStore(LocalStore(str(root)), str(root))


def _refusal(location: str, allowed: str, mend: str = "") -> InvalidConfigError:
    return InvalidConfigError([Fault("storage", location, allowed, mend)])


def _checked(key: str) -> str:
    for segment in key.split("/"):
        if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
            raise ValueError(
                f"a key is relative, its segments made of letters, digits and ._=+-, got {key!r}"
            )
    return key
