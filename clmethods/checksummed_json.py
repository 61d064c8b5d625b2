"""JSON documents that contain the checksum of their content, and what they belong to."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from clmethods.canonical import canonical_json, plain
from clmethods.errors import ClmethodsError
from clmethods.json_parsing import parse_json

FORMAT = 2
"""Version of the documents from `add_owner`. Documents of version 1 do not name their owner."""
_FIELDS = frozenset({"format", "stage", "name", "value"})


class LaterFormatError(ClmethodsError, RuntimeError):
    """Raised for a document that a later version of this code wrote."""


@final
@dataclass(frozen=True, slots=True)
class OwnedContent:
    """Content of a document of a stage, or the reason why it must not be used."""

    value: Any = None
    problem: str = ""
    """Reason, such as that it belongs to another stage; empty if the content can be used."""
    names_owner: bool = True
    """False for a document of version 1, which may belong to another stage."""


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


def add_owner(value: object, stage: str, name: str) -> bytes:
    """Return a document whose checksum covers the stage key and the name it is stored under.

    `name`: name in the folder of the stage, such as `evals/ID.json`. A document that is stored
    under the name of another one is then noticed when it is read.
    """
    return add_checksum({"format": FORMAT, "stage": stage, "name": name, "value": value})


def verify_owner(data: bytes, stage: str, name: str) -> OwnedContent:
    """Return the content of a document from `add_owner`, or of one of version 1.

    Raises `LaterFormatError` for a document that a later version of this code wrote.
    """
    content = verify_checksum(data)
    if content is None:
        return OwnedContent(problem="it does not have its checksum")
    if not isinstance(content, dict) or not content.keys() >= _FIELDS:
        return OwnedContent(content, names_owner=False)
    if content["format"] != FORMAT:
        raise LaterFormatError(
            f"{name} of stage {stage[:12]} has format {content['format']!r}, and this version "
            f"reads formats up to {FORMAT}. Use the version that wrote it, or a later one."
        )
    if content["stage"] != stage:
        return OwnedContent(problem=f"it belongs to stage {str(content['stage'])[:12]}")
    if content["name"] != name:
        return OwnedContent(problem=f"it belongs under the name {content['name']}")
    return OwnedContent(content["value"])


def evaluation_name(eval_id: str) -> str:
    """Return the name of the counts of one readout in the folder of their stage."""
    return f"evals/{eval_id}.json"


def stored_cost(data: bytes, stage: str, name: str) -> dict[str, Any]:
    """Return the cost in a document of a stage; empty if it is damaged or of another stage."""
    cost: dict[str, Any] = checked_cost(data, stage, name).value or {}
    return cost


def checked_cost(data: bytes, stage: str, name: str) -> OwnedContent:
    """Return the cost in a document of a stage, or the reason why it must not be used.

    Version 1 of the document is the cost alone, without a checksum.
    """
    try:
        document = parse_json(data)
    except ValueError as error:
        return OwnedContent(problem=f"it is no JSON ({error})")
    found = OwnedContent(document, names_owner=False)
    if isinstance(document, dict) and "sha256" in document:
        try:
            found = verify_owner(data, stage, name)
        except LaterFormatError as error:
            return OwnedContent(problem=str(error))
    if found.problem or (_is_cost(found.value) and (found.names_owner or "wall_s" in found.value)):
        return found
    return OwnedContent(problem="it does not hold a cost")


def _is_cost(value: object) -> bool:
    """Return True for a mapping whose known fields have the types of `provenance.CostWatch`."""
    return isinstance(value, Mapping) and all(
        test(value[field]) for field, test in _COST_FIELDS.items() if field in value
    )


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_COST_FIELDS = {
    **dict.fromkeys(("wall_s", "cpu_s"), _is_amount),
    "peak_rss_bytes": _is_count,
    **dict.fromkeys(("sweep", "host", "host_kind", "started_at", "code_version"), _is_text),
    **dict.fromkeys(("torch_version", "timm_version"), _is_text),
}
