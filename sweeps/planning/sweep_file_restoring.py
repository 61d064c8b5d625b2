"""Restoring of the sweep file of a sweep from the records of its last run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from clmethods.checksummed_json import sha256
from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.strict_yaml import yaml_text
from sweeps.definition import stored_document
from sweeps.definition.file.run_versions import last_version
from sweeps.definition.file.stored_file import sweep_file_name
from sweeps.storage import MissingObjectError, ObjectStore


@final
@dataclass(frozen=True, slots=True)
class RestoredFile:
    """Sweep file that was written again."""

    source: str
    """Key of the record from which it was restored."""
    kept: str | None
    """Key of the replaced file; None if there was none."""


def restore_sweep_file(objects: ObjectStore, name: str) -> RestoredFile | None:
    """Write the sweep file of the last run again; return None if the stored file is intact.

    A file that is replaced is kept below `sweeps/NAME/replaced/`. Raises `InvalidConfigError` if
    the storage does not hold the file of the last run.
    """
    try:
        stored_document(objects, name)
    except (InvalidConfigError, MissingObjectError):
        pass
    else:
        return None
    version = last_version(objects, name)
    if version is None or version.document is None:
        folder = f"{objects.location}/sweeps/{name}"
        constraint = "a sweep whose last sweep file is in versions/ or in events/*.json"
        hint = (
            f"Run your own file, which stores it again, or copy one of {folder}/versions/ to "
            f"{folder}/sweep.yaml."
        )
        raise InvalidConfigError([ConfigIssue("DIR", folder, constraint, hint)])
    place = sweep_file_name(name)
    kept = _keep(objects, name, place)
    objects.put(place, yaml_text(version.document).encode())
    return RestoredFile(version.source, kept)


def _keep(objects: ObjectStore, name: str, place: str) -> str | None:
    """Copy the file that will be replaced; return the key of the copy."""
    try:
        data = objects.get(place)
    except MissingObjectError:
        return None
    kept = f"sweeps/{name}/replaced/{sha256(data)[:16]}.yaml"
    objects.put(kept, data)
    return kept
