"""Where things are in a storage, for rooms that read what another one writes."""

from __future__ import annotations


def stage_folder(key: str) -> str:
    """Where a stage lives."""
    return f"stages/{key[:2]}/{key}"


def evaluation_name(key: str, eval_id: str) -> str:
    """Where the counts of one readout of a stage are."""
    return f"{stage_folder(key)}/evals/{eval_id}.json"


def stage_and_file(name: str) -> tuple[str, str] | None:
    """Return (key of the stage, name in its folder) of an object below `stages/`.

    None for one that is at no place of a stage: a storage may hold files of other programs.
    """
    parts = name.split("/", 3)
    if len(parts) < 4 or parts[0] != "stages" or parts[1] != parts[2][:2]:
        return None
    return parts[2], parts[3]
