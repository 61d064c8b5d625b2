"""Versions of a sweep file that were run, as the storage records them.

    sweeps/NAME/versions/CHECKSUM.yaml      every version that was run
    sweeps/NAME/events/STAMP-RUN.0000.jsonl the first line names the checksum of the version
    sweeps/NAME/events/STAMP.json           of earlier versions of this code: the whole file

`sweep.yaml` is compared with these records, so no checksum in a file that a user may edit has to
be trusted. A storage without any of them was written before they existed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from clmethods.canonical import short_id
from clmethods.errors import InvalidConfigError
from clmethods.strict_yaml import FileKind, parse_yaml
from sweeps.storage import MissingObjectError, ObjectStore

Document = dict[str, object]
_STORED = FileKind(noun="a sweep file in YAML", from_program=True)


@final
@dataclass(frozen=True, slots=True)
class RunVersion:
    """A version of a sweep file that was run."""

    checksum: str
    source: str
    """Key of the object that holds the file, or that names the checksum."""
    document: Document | None
    """The file; None if the storage does not hold it any more."""


def version_name(name: str, checksum: str) -> str:
    """Return the key of a version of the file in the storage."""
    return f"sweeps/{name}/versions/{checksum}.yaml"


def is_as_run(objects: ObjectStore, name: str, document: Mapping[str, object]) -> bool:
    """Return True if a stored file is one of the versions that were run, or if none is recorded.

    Takes one request if it is.
    """
    checksum = _checksum(document)
    if checksum is not None and objects.exists(version_name(name, checksum)):
        return True
    known = {version.checksum for version in run_versions(objects, name)}
    return not known or checksum in known


def run_versions(objects: ObjectStore, name: str) -> list[RunVersion]:
    """Return the recorded versions, with the one of the last run at the end.

    Versions in `versions/` that no event names are the first ones of the list.
    """
    prefix = f"sweeps/{name}/versions/"
    stored = {
        key.removeprefix(prefix).removesuffix(".yaml"): key
        for key in objects.list(prefix.rstrip("/"))
        if key.endswith(".yaml")
    }
    starts = [_of_event(objects, key) for key in objects.list(f"sweeps/{name}/events")]
    found = {v.checksum: v for v in _unnamed(stored)}
    for start in starts:
        if start is not None:
            found.pop(start.checksum, None)  # the last run of a version decides about its place
            found[start.checksum] = start
    return [_with_document(objects, version, stored) for version in found.values()]


def last_version(objects: ObjectStore, name: str) -> RunVersion | None:
    """Return the version of the last run; None if it is unknown or its file is lost."""
    versions = run_versions(objects, name)
    if not versions or versions[-1].document is None:
        return None
    is_sure = len(versions) == 1 or any(objects.list(f"sweeps/{name}/events"))
    return versions[-1] if is_sure else None


def parsed_document(data: bytes) -> object:
    """Return the plain data of a stored sweep file. Raises `InvalidConfigError`."""
    document, issues = parse_yaml(data, "", _STORED)
    if issues:
        raise InvalidConfigError(issues)
    return document


def _unnamed(stored: Mapping[str, str]) -> list[RunVersion]:
    return [RunVersion(checksum, key, None) for checksum, key in stored.items()]


def _with_document(
    objects: ObjectStore, version: RunVersion, stored: Mapping[str, str]
) -> RunVersion:
    """Return a version with its file, if the storage holds it and it has its checksum."""
    key = stored.get(version.checksum)
    if version.document is not None or key is None:
        return version
    try:
        document = parsed_document(objects.get(key))
    except (MissingObjectError, InvalidConfigError):
        return version
    if not isinstance(document, dict) or _checksum(document) != version.checksum:
        return version
    return RunVersion(version.checksum, key, document)


def _of_event(objects: ObjectStore, key: str) -> RunVersion | None:
    """Return the version that a run started with, from the first object of its event log."""
    is_whole_file = key.endswith(".json")
    if not is_whole_file and not key.endswith(".0000.jsonl"):
        return None
    try:
        text = objects.get(key).decode(errors="replace")
        fields: Any = json.loads(text if is_whole_file else text.partition("\n")[0])
    except (MissingObjectError, ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    if is_whole_file:
        document = fields.get("sweep")
        if not isinstance(document, dict):
            return None
        return RunVersion(short_id(document), key, document)
    checksum = fields.get("document")
    return RunVersion(checksum, key, None) if isinstance(checksum, str) else None


def _checksum(document: Mapping[str, object]) -> str | None:
    """Return the checksum of a file; None for values that no sweep file contains."""
    try:
        return short_id(document)
    except (TypeError, ValueError, RecursionError):
        return None
