"""JSON documents that carry their own checksum."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from clmethods.canonical import canonical_json, plain


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sealed(content: Any, *, readable: bool = False) -> bytes:
    """A JSON document with the checksum of its content; `readable` is indented, for people."""
    document = {"content": content, "sha256": sha256(canonical_json(content).encode())}
    if readable:
        return (json.dumps(plain(document), indent=2, allow_nan=False) + "\n").encode()
    return canonical_json(document).encode()


def unsealed(data: bytes) -> Any | None:
    """The content of a sealed document; None if it is not what was written."""
    try:
        document = json.loads(data)
        content = document["content"]
        whole = sha256(canonical_json(content).encode()) == document["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return content if whole else None
