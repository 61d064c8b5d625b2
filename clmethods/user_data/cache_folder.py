"""Folder of the files that are computed once per user: decoded images, checksums of files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return `CLMETHODS_CACHE`, or `clmethods` in the user's cache folder."""
    folder = os.environ.get("CLMETHODS_CACHE")
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clmethods"
