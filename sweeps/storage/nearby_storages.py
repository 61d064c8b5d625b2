"""Storages near a folder that is none, for messages."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

DEPTH = 3
"""Depth of the folders that are searched."""
MAX_FOLDERS = 2000
"""Number of folders after which a search ends: the folder may contain anything."""
MAX_SHOWN = 5


def storage_hint(directory: str) -> str:
    """Return a sentence that names the storages below or around a local folder, or "".

    For a folder that does not exist, the nearest existing folder above it is searched.
    """
    path = Path(directory)
    above = next((p for p in path.parents if is_storage(p)), None)
    if above is not None:
        return f"The storage is {above}."
    while not path.is_dir() and path != path.parent:
        path = path.parent
    names = [str(found) for found in storages_below(path)]
    if not names:
        return ""
    if len(names) == 1:
        return f"There is a storage at {names[0]}."
    rest = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return f"There are storages at {', '.join(names[:MAX_SHOWN])}{rest}."


def is_storage(folder: Path) -> bool:
    """Return True if a sweep was run on a local folder."""
    try:
        return any((sweep / "sweep.yaml").is_file() for sweep in (folder / "sweeps").iterdir())
    except OSError:
        return False


def storages_below(folder: Path) -> list[Path]:
    """Return the storages below a folder, the nearest first. Folders of a storage are left out."""
    found: list[Path] = []
    waiting = deque([(folder, 0)])
    searched = 0
    while waiting and searched < MAX_FOLDERS:
        place, depth = waiting.popleft()
        searched += 1
        if depth and is_storage(place):
            found.append(place)
        elif depth < DEPTH:
            waiting.extend((child, depth + 1) for child in _folders(place))
    return found


def _folders(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [place / name for name in sorted(names) if not name.startswith(".")]
