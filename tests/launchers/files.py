"""Access to the files of cluster/ and to the schemas they are checked against."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER = REPOSITORY / "cluster"
SCHEMAS = Path(__file__).with_name("schemas")

Path_ = tuple[str | int, ...]


def cluster_file(name: str) -> dict[str, Any]:
    """Return a cluster file as `ray up` reads it."""
    loaded: dict[str, Any] = yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))
    return loaded


def node_configs(name: str) -> dict[str, dict[str, Any]]:
    """Return the node_config of every node type."""
    types = cluster_file(name)["available_node_types"]
    return {node_type: settings["node_config"] for node_type, settings in types.items()}


def schema(name: str) -> dict[str, Any]:
    """Return a schema of the folder `schemas`."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def changed(document: dict[str, Any], place: Path_, value: object) -> dict[str, Any]:
    """Return a copy with another value at a place; the last key may be new."""
    result = copy.deepcopy(document)
    inner: Any = result
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return result


def renamed(document: dict[str, Any], place: Path_, name: str) -> dict[str, Any]:
    """Return a copy with a misspelt key at a place."""
    result = copy.deepcopy(document)
    inner: Any = result
    for key in place[:-1]:
        inner = inner[key]
    inner[name] = inner.pop(place[-1])
    return result
