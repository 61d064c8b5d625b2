"""Stored sweep files that a test writes itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clmethods.canonical import short_id
from sweeps.storage import ObjectStore


def store_as_run(objects: ObjectStore, name: str, document: Mapping[str, Any]) -> None:
    """Store a document as a run of it does, without checking that it is valid."""
    data = json.dumps(document).encode()
    objects.put(f"sweeps/{name}/versions/{short_id(document)}.yaml", data)
    objects.put(f"sweeps/{name}/sweep.yaml", data)
