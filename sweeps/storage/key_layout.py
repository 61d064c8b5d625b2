"""Layout of the keys of a storage, for packages that read data written by another package."""

from __future__ import annotations

from sweeps.storage.objects import ObjectStore

RECORDS = ("results", "events", "versions")
"""Folders of a sweep that show that it was run."""


def stage_folder(key: str) -> str:
    """Return the folder of a stage."""
    return f"stages/{key[:2]}/{key}"


def evaluation_name(key: str, eval_id: str) -> str:
    """Return the key of the counts of one readout of a stage."""
    return f"{stage_folder(key)}/evals/{eval_id}.json"


def stage_and_file(name: str) -> tuple[str, str] | None:
    """Return (key of the stage, name in its folder) of an object below `stages/`.

    The result is None for any other object: a storage may hold files of other programs.
    """
    parts = name.split("/", 3)
    if len(parts) < 4 or parts[0] != "stages" or parts[1] != parts[2][:2]:
        return None
    return parts[2], parts[3]


def records_of(
    objects: ObjectStore, sweep: str, folders: tuple[str, ...] = RECORDS
) -> tuple[str, ...]:
    """Return the folders of a sweep that hold objects; empty if it was never run.

    An empty folder of a file system holds none.
    """
    keys = ((name, objects.list(f"sweeps/{sweep}/{name}")) for name in folders)
    return tuple(name for name, found in keys if next(iter(found), None) is not None)
