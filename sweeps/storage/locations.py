"""Locations of storages as users write them: local directories and URLs without secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.hidden_values import HIDDEN
from sweeps.storage.options import KEYS_BELONG

SCHEMES = ("s3", "gs", "az", "memory")
"""Supported URL schemes. A `memory://` storage exists as long as its `ObjectStore`, for tests."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SEGMENT = re.compile(r"[A-Za-z0-9._=+-]+")


@dataclass(frozen=True, slots=True)
class StorageUrl:
    """Parts of a storage URL."""

    scheme: str
    bucket: str
    """Bucket or container; empty for `memory`."""
    prefix: str
    """Path below the bucket without slashes at its ends; may be empty."""

    @property
    def url(self) -> str:
        """Return the URL in its normal form; it opens the same storage."""
        return f"{self.scheme}://{'/'.join(filter(None, [self.bucket, self.prefix]))}"


def parse_storage_url(text: str) -> StorageUrl | None:
    """Return the parts of a URL; None for a local directory.

    Raises `InvalidConfigError` for a URL that is not supported and for one that contains keys. The
    message repeats no part of a URL that may be secret.
    """
    match = _URL.match(text)
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[3]
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES[:-1])
        constraint = f"a local directory or a URL that starts with {known}"
        hint = "Give the path of the directory without file://." if scheme == "file" else ""
        raise location_error(without_secrets(text), constraint, hint)
    if "@" in rest or "?" in rest or "#" in rest:
        constraint = f"{scheme}://BUCKET/PATH without keys and parameters"
        raise location_error(without_secrets(text), constraint, KEYS_BELONG)
    bucket, _, path = rest.partition("/")
    segments = [segment for segment in path.split("/") if segment]
    if scheme == "memory":
        if rest:
            raise location_error(text, "memory:// alone")
    elif match[0] != f"{match[1]}://{rest}" or not _BUCKET.fullmatch(bucket):
        raise location_error(text, f"{scheme}://BUCKET/PATH")
    elif any(not _SEGMENT.fullmatch(s) or s in {".", ".."} for s in segments):
        constraint = "a path of letters, digits and ._=+- below the bucket"
        raise location_error(text, constraint)
    return StorageUrl(scheme, bucket, "/".join(segments))


def without_secrets(text: str) -> str:
    """Return a URL that may be shown: user, password, query and fragment are replaced."""
    match = _URL.match(text)
    if match is None:
        return text
    start, rest = f"{match[1]}:{match[2]}", match[3]
    shown, *parameters = re.split(r"[?#]", rest, maxsplit=1)
    if "@" in rest and parameters:  # the end of the secret cannot be determined
        return f"{start}{HIDDEN}"
    _, user, shown = shown.rpartition("@")  # a secret key may contain slashes
    return f"{start}{HIDDEN if user else ''}{user}{shown}" + (f"?{HIDDEN}" if parameters else "")


def location_error(location: str, allowed: str, hint: str = "") -> InvalidConfigError:
    """Return the error that refuses a location; `location` must contain no secret."""
    return InvalidConfigError([ConfigIssue("storage", location, allowed, hint)])
