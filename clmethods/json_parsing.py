"""Parsing of JSON that may be damaged or edited."""

from __future__ import annotations

import json
from typing import Any


def parse_json(data: str | bytes) -> Any:
    """Return the value of a JSON document.

    Raises ValueError for a text that is no JSON, for bytes that are not UTF-8, for NaN and
    infinity, and for nesting that is too deep to be parsed, which `json.loads` reports with a
    RecursionError.
    """
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("the nesting is too deep") from None


def parse_json_object(data: str | bytes) -> dict[str, Any] | None:
    """Return the object of a JSON document; None if there is none."""
    try:
        value = parse_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")
