"""Marker of a stored stage, `stage.json`: its identity, and the names of its payloads."""

from __future__ import annotations

from typing import TypedDict

from clmethods.canonical import JsonValue
from clmethods.config.keys import stage_key


class StageMarker(TypedDict):
    """Content of `stage.json`."""

    key: str
    parent: str | None
    position: int
    task_key: str
    groups: list[int]
    classes: list[int]
    effect: dict[str, JsonValue]
    """Effective configuration of the stage."""
    state: str
    """Name of the file with the tensors."""
    state_bytes: int
    result: str
    """Name of the file with the result."""


def describes_stage(marker: object, key: str) -> bool:
    """Return True if the content of a `stage.json` describes the stage of this key.

    The key is the hash of fields of the marker. Therefore the marker of another stage, or one with
    edited settings, is noticed even if it has a correct checksum.
    """
    if not isinstance(marker, dict) or marker.get("key") != key:
        return False
    try:
        fields = marker["parent"], marker["position"], marker["task_key"], marker["effect"]
        return stage_key(*fields) == key
    except (KeyError, TypeError, ValueError):
        return False
