"""One spelling for every value: canonical JSON, fingerprints, derived seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_FINAL = frozenset({str, int, bool, type(None)})

ID_LENGTH = 16
"""Hex digits of an id that a person reads (64 bits); stage keys keep all 64 digits."""


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as dicts and lists, in a form that JSON can hold."""
    if type(value) in _FINAL:  # most of what is met; the other questions cost more
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    return value


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks; equal values have equal text.

    A float that is a whole number is written as the integer, so that `1` and `1.0`, which act
    alike, are one setting.
    """
    return _ENCODER.encode(_whole(plain(value)))


def joined_json(parts: Mapping[str, str]) -> str:
    """Canonical JSON of a mapping whose values are canonical JSON already."""
    return "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def short_id(value: Any) -> str:
    """The first digits of the fingerprint, for ids that a person reads."""
    return fingerprint(value)[:ID_LENGTH]


def short_id_of_json(text: str) -> str:
    """`short_id` of the value whose canonical JSON is `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def derive_seed(root: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on all of `purpose` and on no generator's state."""
    digest = hashlib.sha256(canonical_json([root, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _whole(value: Any) -> Any:
    if type(value) in _FINAL:
        return value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
