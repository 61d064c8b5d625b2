"""Weights of a timm tag in the local cache of the model hub, found without its libraries."""

from __future__ import annotations

import os
from pathlib import Path

FILE = "model.safetensors"


def repository(name: str) -> str:
    """The hub's repository of a timm name with its tag."""
    return f"timm/{name}"


def hub_cache() -> Path:
    """Where the hub's own library keeps what it has downloaded."""
    given = os.environ.get("HF_HUB_CACHE")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "hub"


def cached_file(name: str) -> Path | None:
    """The weights of a timm name with its tag, as last downloaded; None if they never were."""
    folder = hub_cache() / ("models--" + repository(name).replace("/", "--"))
    try:
        revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    file = folder / "snapshots" / revision / FILE
    return file if file.is_file() else None


def offline() -> bool:
    """Whether the user has forbidden the hub, by the variable of the hub's own library."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
