"""Detection of names and texts that look like secrets, and values without the secrets.

Error messages are printed, logged and pasted into reports, so they must not repeat a password that
a user wrote into the wrong field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice

HIDDEN = "(not shown)"
"""Printed in place of a value that may be a secret."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS = frozenset(
    [
        "key",
        "keys",
        "secret",
        "secrets",
        "token",
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "credential",
        "credentials",
        "sas",
        "sig",
        "signature",
        "authorization",
        "bearer",
    ]
)
_ENDINGS = ("key", "keyid", "secret", "token", "password", "passwd")
"""For names that are written without separators, such as `accesskey`."""

_KEY_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[\d+\])*")
_FILE = re.compile(r".*\.(ya?ml|json)", re.IGNORECASE)
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/+)[^'\"\n]*@")
_PARAMETER = re.compile(r"([?&#;])([^=&#;\s'\"]+)=[^&#;\s'\"]*")
_ASSIGNMENT = re.compile(r"(?<![A-Za-z_-])([A-Za-z_][\w-]*)[\"']?\s*[:=]\s*(?=\S)")
_DEEPEST = 32
_SHOWN_CHARACTERS, _SHOWN_ITEMS = 2000, 100
"""Parts of long values that are searched for secrets; messages show 90 characters."""


def looks_secret(name: str) -> bool:
    """Return whether a field, a variable or a URL parameter of this name may hold a secret."""
    words = {word.lower() for word in _WORD.findall(name)}
    return bool(words & _WORDS) or re.sub(r"[^a-z]", "", name.lower()).endswith(_ENDINGS)


def printable(path: str, value: object) -> object:
    """Return the value of the field at a key path with its secrets replaced."""
    is_field = _KEY_PATH.fullmatch(path) and not _FILE.fullmatch(path)
    if is_field and any(looks_secret(name) for name in re.split(r"[.\[\]]+", path)):
        return HIDDEN
    return _masked(value)


def without_url_secrets(text: str) -> str:
    """Return a text in which the users and secret parameters of URLs are replaced."""
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    return _PARAMETER.sub(
        lambda found: f"{found[1]}{found[2]}={HIDDEN}" if looks_secret(found[2]) else found[0],
        text,
    )


def masked_text(text: str) -> str:
    """Return a text without URL secrets and without what is assigned to a secret name."""
    for found in _ASSIGNMENT.finditer(text):
        if looks_secret(found[1]):
            return without_url_secrets(text[: found.end()]) + HIDDEN
    return without_url_secrets(text)


def _masked(value: object, depth: int = 0) -> object:
    if depth > _DEEPEST:  # an alias that contains itself
        return "..."
    if isinstance(value, str):
        cut = len(value) > _SHOWN_CHARACTERS
        return masked_text(value[:_SHOWN_CHARACTERS]) + ("..." if cut else "")
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if looks_secret(str(name)) else _masked(item, depth + 1)
            for name, item in islice(value.items(), _SHOWN_ITEMS)
        }
    if isinstance(value, list):
        return [_masked(item, depth + 1) for item in value[:_SHOWN_ITEMS]]
    return value
