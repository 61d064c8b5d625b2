"""Report of the requested runs that have not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from sweeps.definition import TrialSpec

NAMED = 4
"""Maximum number of runs that the message names; the others are counted."""


def missing_runs(requested: Sequence[TrialSpec], trials: pa.Table) -> tuple[str, ...]:
    """Return one sentence about the trials that have not finished, with names and reasons.

    The result is empty if all trials have finished, and if none has. `trials` holds the last
    attempts.
    """
    ends = {
        row["trial_id"]: row
        for row in trials.select(["trial_id", "status", "error_kind"]).to_pylist()
    }
    finished = {name for name, row in ends.items() if row["status"] == "finished"}
    missing = [trial for trial in requested if trial.trial_id not in finished]
    if not missing or not finished:
        return ()

    def reason(trial: TrialSpec) -> str:
        row = ends.get(trial.trial_id)
        if row is None:
            return "has not ended"
        return f"{row['status']}: {row['error_kind']}" if row["error_kind"] else row["status"]

    named = [f"{trial.name} ({reason(trial)})" for trial in missing[:NAMED]]
    more = len(missing) - NAMED
    return (
        f"{len(missing)} of {len(requested)} trials are missing, which makes intervals wider: "
        + "; ".join(named)
        + (f"; and {more} more" if more > 0 else ""),
    )
