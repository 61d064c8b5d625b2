"""One spelling for every value: canonical JSON, fingerprints, derived seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

ID_LENGTH = 16
"""Hex digits of an id that a person reads (64 bits); stage keys keep all 64 digits."""


_SCALARS = frozenset({str, int, bool, float, type(None)})


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as dicts and lists, in a form that JSON can hold."""
    if type(value) in _SCALARS:  # most of what a run holds; a sweep spells thousands of runs
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
    return json.dumps(_whole(plain(value)), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def short_id(value: Any) -> str:
    """The first digits of the fingerprint, for ids that a person reads."""
    return fingerprint(value)[:ID_LENGTH]


def derive_seed(root: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on all of `purpose` and on no generator's state."""
    digest = hashlib.sha256(canonical_json([root, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _whole(value: Any) -> Any:
    if type(value) is float:
        return int(value) if value.is_integer() else value
    if type(value) in _SCALARS:
        return value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
