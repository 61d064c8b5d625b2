"""Lookup of timm weights in the local cache of the model hub, without the hub's library."""

from __future__ import annotations

import os
from pathlib import Path

FILE = "model.safetensors"


def repository(name: str) -> str:
    """Return the repository on the hub for a timm name with tag."""
    return f"timm/{name}"


def hub_cache() -> Path:
    """Return the folder into which the hub's own library downloads files."""
    given = os.environ.get("HF_HUB_CACHE")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "hub"


def cached_file(name: str) -> Path | None:
    """Return the most recently downloaded weights of a timm name with tag; None without any."""
    folder = hub_cache() / ("models--" + repository(name).replace("/", "--"))
    try:
        revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    file = folder / "snapshots" / revision / FILE
    return file if file.is_file() else None


def offline() -> bool:
    """Return True if `HF_HUB_OFFLINE`, a variable of the hub's own library, disables the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
