"""Listing of a local directory that may hold files and links of other programs.

`obstore` fails at the first link that leads in a circle, and lists whatever a link leads to. Here
a link to a folder is followed only if it leads out of the storage, once per folder, and not to a
folder that contains the storage. Other links to folders, links that lead nowhere, pipes, sockets
and devices are passed over, as are names that are no keys.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

UNREADABLE = frozenset({"lost+found"})
"""Folders of a file system that only its administrator can read."""

IsKey = Callable[[str], bool]


def local_files(root: str, folder: str, is_key: IsKey) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield (key, entry) of every file below a folder of a storage, at any depth.

    `is_key`: tells whether a name can be a segment of a key. A missing folder is empty. Raises the
    OSError of a folder that cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [(f"{folder}/" if folder else "", os.path.join(root, folder))]
    while waiting:
        prefix, directory = waiting.pop()
        for entry in _entries(directory):
            if not is_key(entry.name):
                continue
            key = prefix + entry.name
            if entry.is_dir(follow_symlinks=False) or _leads_out(root, entry, seen):
                if entry.name not in UNREADABLE:
                    waiting.append((f"{key}/", entry.path))
            elif _is_file(entry):
                yield key, entry


def local_stats(root: str, folder: str, is_key: IsKey) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (key, size and times) of the files of `local_files`."""
    for key, entry in local_files(root, folder, is_key):
        try:
            yield key, entry.stat()
        except FileNotFoundError:  # deleted since it was listed
            continue


ENDINGS = (".json", ".jsonl", ".parquet", ".zip")
"""Endings of objects for which `non_files` reports a folder in their place."""


def non_files(root: str, folder: str, is_key: IsKey) -> list[str]:
    """Return the keys below a folder in whose place there is no file, sorted.

    These are links that lead nowhere or in a circle, and folders, pipes, sockets and devices with
    the name of an object.
    """
    found = []
    for directory, folders, names in os.walk(os.path.join(root, folder)):
        for name in (*folders, *names):
            path = os.path.join(directory, name)
            key = Path(path).relative_to(root).as_posix()
            broken = os.path.islink(path) and not os.path.exists(path)
            if is_key(key) and (broken or (name.endswith(ENDINGS) and not os.path.isfile(path))):
                found.append(key)
    return sorted(found)


def local_folders(root: str, folder: str, is_key: IsKey) -> list[str]:
    """Return the names of the folders directly in a folder of a storage, sorted."""
    found = [
        entry.name
        for entry in _entries(os.path.join(root, folder))
        if is_key(entry.name) and entry.name not in UNREADABLE
        if entry.is_dir(follow_symlinks=False) or _leads_out(root, entry, set())
    ]
    return sorted(found)


def is_special(path: str) -> bool:
    """Return True if a path leads to a pipe, a socket or a device; False if it leads nowhere."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        if error.errno == errno.ELOOP:
            return []
        raise


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle
        return False


def _leads_out(root: str, entry: os.DirEntry[str], seen: set[tuple[int, int]]) -> bool:
    """Return True for a link to a folder outside the storage that was not listed yet."""
    if not entry.is_symlink():
        return False
    try:
        status = entry.stat()
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    if not stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) in seen:
        return False
    storage = Path(root)
    if target.is_relative_to(storage) or storage.is_relative_to(target):
        return False
    seen.add((status.st_dev, status.st_ino))
    return True
