"""Checks that a stored document belongs to the stage in whose folder it is."""

from __future__ import annotations

from collections.abc import Callable

from clmethods.checksummed_json import (
    OwnedContent,
    evaluation_name,
    verify_checksum,
    verify_owner,
)
from clmethods.config.stage_marker import StageMarker, describes_stage
from clmethods.metrics import are_eval_rows, stage_contradiction


def checked_marker(data: bytes, key: str) -> StageMarker | None:
    """Return the marker of a stage; None if it is damaged, edited, or of another stage."""
    marker: StageMarker | None = verify_checksum(data)
    return marker if describes_stage(marker, key) else None


def checked_evaluation(
    data: bytes, key: str, eval_id: str, marker: Callable[[], StageMarker | None]
) -> OwnedContent:
    """Return the counts of one readout of a stage, or the reason why they must not be used.

    Counts of earlier versions do not name their stage. They are compared with its marker, which
    is read for them only.
    """
    found = verify_owner(data, key, evaluation_name(eval_id))
    if found.problem:
        return found
    if not are_eval_rows(found.value):
        return OwnedContent(problem="it does not hold counts")
    if found.names_owner:
        return found
    described = marker()
    if described is None:
        return OwnedContent(problem="it does not name its stage, whose marker is missing")
    learned = described["position"] + len(described["groups"])
    problem = stage_contradiction(found.value, described["classes"], learned)
    return OwnedContent(problem=problem) if problem else found
