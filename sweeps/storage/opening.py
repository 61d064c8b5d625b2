"""Open the storage at a local directory or at a URL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from sweeps.storage.backends import local_backend, missing_backend, url_backend
from sweeps.storage.locations import location_error, parse_storage_url
from sweeps.storage.objects import ObjectStore, new_object_store
from sweeps.storage.options import StorageOptions

USABLE = "a directory that can be created and written, on a file system with hard links"


def _say_nothing(message: str) -> None:
    """Ignore outage messages; the default if the caller passes no `notify`."""


def open_storage(
    location: str,
    options: StorageOptions | None = None,
    *,
    create: bool = True,
    notify: Callable[[str], None] = _say_nothing,
) -> ObjectStore:
    """Open the storage at a local directory or at a URL.

    `options`: endpoint, region and other settings of the sweep file; None if none was read.
    Settings that are null are taken from the environment.

    `create`: create the directory if it is missing, and check that it can be written.

    `notify`: called once when an outage has lasted five seconds, and once when it is over.

    Raises `InvalidConfigError` for a directory that does not exist, cannot be created or written,
    or has no hard links. Raises it also for a URL that is not supported, that contains keys, or
    that has incomplete settings. A bucket is not contacted: `check_storage` does that.
    """
    sweep_file = options is not None
    options = options or StorageOptions()
    parsed = parse_storage_url(location)
    if parsed is not None:
        backend = url_backend(parsed, options, sweep_file=sweep_file)
        return new_object_store(backend, notify)
    root = _made(location) if create else _existing(location)
    return new_object_store(local_backend(str(root), options), notify)


def open_for_planning(
    location: str,
    options: StorageOptions | None = None,
    *,
    notify: Callable[[str], None] = _say_nothing,
) -> ObjectStore:
    """Open the storage of a run that may follow, without creating anything.

    A directory that does not exist yet is an empty storage. An existing one need not be writable.
    Raises `InvalidConfigError` as `open_storage` does, and for a directory that could not be
    created.
    """
    if parse_storage_url(location) is not None or os.path.lexists(_root(location)):
        return open_storage(location, options, create=False, notify=notify)
    root = _root(location)
    parent = next(folder for folder in root.parents if os.path.lexists(folder))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        hint = f"{parent} is no directory in which this user may create one"
        raise location_error(location, USABLE, hint)
    backend = missing_backend(str(root), str(parent), options or StorageOptions())
    return new_object_store(backend, notify)


def _made(location: str) -> Path:
    """Create the directory if it is missing, check that it can be used, and return it."""
    root = _root(location)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=root) as probe:
            written = Path(probe, "written")
            written.touch()
            os.link(written, Path(probe, "linked"))  # put_if_absent depends on hard links
    except OSError as error:
        raise location_error(location, USABLE, f"{error.strerror or error} ({root})") from error
    return root


def _existing(location: str) -> Path:
    root = _root(location)
    try:
        os.listdir(root)
    except OSError as error:
        allowed = "an existing storage directory that can be read"
        raise location_error(location, allowed, f"{error.strerror or error} ({root})") from error
    return root


def _root(location: str) -> Path:
    if not location.strip():
        raise location_error(location, "a directory or a URL")
    try:
        location.encode()  # the file system may hold other names, but obstore accepts only text
        root = Path(location).expanduser().resolve()
        str(root).encode()
    except UnicodeEncodeError as error:
        raise location_error(location, "a path in UTF-8") from error
    # a loop of links, an unknown user, a null character
    except (OSError, RuntimeError, ValueError) as error:
        allowed = "the path of a directory"
        raise location_error(location, allowed, f"{error}".rstrip(".") + ".") from error
    return root
