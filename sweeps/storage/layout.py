"""Where things are in a storage, for rooms that read what another one writes."""

from __future__ import annotations


def stage_folder(key: str) -> str:
    """Where a stage lives."""
    return f"stages/{key[:2]}/{key}"


def evaluation_name(key: str, eval_id: str) -> str:
    """Where the counts of one readout of a stage are."""
    return f"{stage_folder(key)}/evals/{eval_id}.json"
