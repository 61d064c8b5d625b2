"""Decoded images on disk, as memory-mapped uint8 arrays that all processes of a user share.

A file is written aside and renamed, so nobody sees half of one. Its name is a fingerprint of all
that its bits depend on, so nothing in it can be stale; files may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast

import numpy as np
import PIL

from clmethods.canonical import fingerprint
from clmethods.data.source import DatasetError, Pixels

LAYOUT = 1
"""Bumped when the same identity would give other bits."""


def cache_dir() -> Path:
    """`CLMETHODS_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("CLMETHODS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clmethods"


def cached_pixels(name: str, identity: object, write: Callable[[Path], None]) -> Pixels:
    """A read-only array, memory-mapped; `write` makes its .npy file if no process has yet.

    One process writes while the others wait.
    """
    key = fingerprint([LAYOUT, PIL.__version__, identity])[:32]
    path = cache_dir() / f"{name}-{key}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with _locked(path.with_suffix(".lock")):
                if not path.exists():
                    _aside(path, write)
    except OSError as error:
        raise DatasetError(
            f"{name}: decoded images cannot be kept in {path.parent}: {error.strerror or error}. "
            "Set CLMETHODS_CACHE to a folder with room."
        ) from error
    return cast(Pixels, np.load(path, mmap_mode="r", allow_pickle=False))


def _aside(path: Path, write: Callable[[Path], None]) -> None:
    with NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as new:
        aside = Path(new.name)
    try:
        write(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
