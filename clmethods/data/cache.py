"""Cache of decoded images: memory-mapped uint8 arrays that all processes of a user share.

A file is written to a temporary file and renamed, so that no process reads an incomplete file. The
name of a file is a fingerprint of everything that its content depends on, so that no file can be
outdated. Files may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast

import numpy as np
import PIL

from clmethods.canonical import fingerprint
from clmethods.data.source import DatasetError, Pixels
from clmethods.user_data.cache_folder import cache_dir

ABANDONED_S = 86_400.0
"""Age in seconds after which a temporary file belongs to no living process."""
LAYOUT = 1
"""Version of the cache, increased when the same identity gives different bits."""


def cached_pixels(name: str, identity: object, write: Callable[[Path], None]) -> Pixels:
    """Return a read-only, memory-mapped array; `write` creates its .npy file if it is missing.

    One process writes the file while the others wait. Raises `DatasetError` if the cache folder
    is not writable.
    """
    key = fingerprint([LAYOUT, PIL.__version__, identity])[:32]
    path = cache_dir() / f"{name}-{key}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with _locked(path.with_suffix(".lock")):
                if not path.exists():
                    _remove_abandoned(path)
                    write_atomically(path, write)
    except OSError as error:
        raise DatasetError(
            f"{name}: decoded images cannot be stored in {path.parent}: "
            f"{error.strerror or error}. Set CLMETHODS_CACHE to a folder with enough space."
        ) from error
    return cast(Pixels, np.load(path, mmap_mode="r", allow_pickle=False))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder and rename the file to `path`.

    If `write` raises an exception, the temporary file is removed.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as new:
        temporary = Path(new.name)
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` that killed processes left behind.

    Where locks do not reach other hosts, one of them may still write a file that is not old.
    """
    for file in path.parent.glob(f"{path.stem}*.tmp"):
        if time.time() - file.stat().st_mtime > ABANDONED_S:
            file.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
