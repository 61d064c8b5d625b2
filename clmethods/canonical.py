"""Canonical JSON, and the fingerprints, ids and seeds that are derived from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_FINAL = frozenset({str, int, bool, type(None)})

Scalar: TypeAlias = str | int | float | bool | None
SettingValue: TypeAlias = Scalar | Sequence[Scalar]
"""Value of a setting as a sweep file writes it: a scalar, or a list of scalars."""
JsonValue: TypeAlias = "Scalar | Sequence[JsonValue] | Mapping[str, JsonValue]"
"""Value that JSON can express."""

ID_LENGTH = 16
"""Number of hex digits of a short id (64 bits). Stage keys keep all 64 digits."""


def plain(value: object) -> Any:
    """Convert dataclasses, tuples, sets and mappings to the lists and dicts that JSON supports.

    Raises `TypeError` for a value that JSON does not support.
    """
    if type(value) in _FINAL:  # the most frequent case; the checks below are slower
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value)]
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"an object of type {type(value).__name__} has no JSON form")


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no whitespace. Equal values have equal text.

    A float with an integer value is written as an integer, because `1` and `1.0` have the same
    effect and must count as the same setting.

    Raises `ValueError` for a float that is infinite or not a number.
    """
    return _ENCODER.encode(_whole(plain(value)))


def joined_json(parts: Mapping[str, str]) -> str:
    """Return the canonical JSON of a mapping whose values are already canonical JSON."""
    return "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"


def fingerprint(value: object) -> str:
    """Return the SHA-256 digest of the canonical JSON as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def short_id(value: object) -> str:
    """Return the first `ID_LENGTH` digits of the fingerprint, for ids that users read."""
    return fingerprint(value)[:ID_LENGTH]


def short_id_of_json(text: str) -> str:
    """Return the `short_id` of the value whose canonical JSON is `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def derive_seed(root: int, *purpose: str | int) -> int:
    """Return a 63-bit seed derived from `root` and all of `purpose`.

    The seed does not depend on the state of any random generator.
    """
    digest = hashlib.sha256(canonical_json([root, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _whole(value: JsonValue) -> JsonValue:
    if type(value) in _FINAL:
        return value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
