"""JSON documents that contain the checksum of their content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from clmethods.canonical import canonical_json, plain
from clmethods.json_parsing import parse_json


def sha256(data: bytes) -> str:
    """Return the SHA-256 digest as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def add_checksum(content: object, *, readable: bool = False) -> bytes:
    """Return a JSON document with the checksum of its content; `readable` indents it."""
    document = {"content": content, "sha256": sha256(canonical_json(content).encode())}
    if readable:
        return (json.dumps(plain(document), indent=2, allow_nan=False) + "\n").encode()
    return canonical_json(document).encode()


def verify_checksum(data: bytes) -> Any | None:
    """Return the content of a document from `add_checksum`; None if it was damaged or modified."""
    try:
        document = parse_json(data)
        content = document["content"]
        intact = sha256(canonical_json(content).encode()) == document["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return content if intact else None
