"""Open the storage at a local directory or at a URL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from sweeps.storage.backends import local_backend, url_backend
from sweeps.storage.locations import location_error, parse_location
from sweeps.storage.objects import ObjectStore, new_object_store
from sweeps.storage.options import StorageOptions


def _say_nothing(message: str) -> None:
    """Used where nobody asked to be told of outages."""


def open_storage(
    location: str,
    options: StorageOptions | None = None,
    *,
    create: bool = True,
    notify: Callable[[str], None] = _say_nothing,
) -> ObjectStore:
    """Open the storage at a local directory or at a URL.

    `options`: endpoint, region and the like; what they leave open comes from the environment.
    `create`: make the directory where it is missing, and see that it can be written.
    `notify`: is told once when an outage has lasted five seconds, and once when it is over.

    Raises `InvalidConfigError` for a directory that does not exist, cannot be created or written
    or has no hard links, and for a URL that is not understood, that holds keys or whose settings
    are incomplete. A bucket is not contacted: `check_storage` does that.
    """
    options = options or StorageOptions()
    parsed = parse_location(location)
    if parsed is not None:
        return new_object_store(url_backend(parsed, options), notify)
    root = _made(location) if create else _existing(location)
    return new_object_store(local_backend(str(root), options), notify)


def _made(location: str) -> Path:
    """The directory, created if need be, after a look whether it can be used."""
    root = _root(location)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=root) as probe:
            written = Path(probe, "written")
            written.touch()
            os.link(written, Path(probe, "linked"))  # what put_if_absent rests on
    except OSError as error:
        allowed = "a directory that can be created and written, on a file system with hard links"
        raise location_error(location, allowed, f"{error.strerror or error} ({root})") from error
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
        location.encode()  # the file system may hold other names, but obstore takes text alone
        root = Path(location).expanduser().resolve()
        str(root).encode()
    except UnicodeEncodeError as error:
        raise location_error(location, "a path in UTF-8") from error
    except (OSError, RuntimeError, ValueError) as error:  # a loop, no such user, a null character
        allowed = "the path of a directory"
        raise location_error(location, allowed, f"{error}".rstrip(".") + ".") from error
    return root
