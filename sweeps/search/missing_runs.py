"""Which of the runs that a sweep asks for are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from sweeps.definition import TrialSpec

NAMED = 4
"""Runs that are named; the rest are counted."""


def missing_runs(asked: Sequence[TrialSpec], trials: pa.Table) -> tuple[str, ...]:
    """One sentence about the trials that did not finish, by name and with the reason.

    Nothing where all have finished, and nothing where none has. `trials` holds the last attempts.
    """
    ends = {
        row["trial_id"]: row
        for row in trials.select(["trial_id", "status", "error_kind"]).to_pylist()
    }
    finished = {name for name, row in ends.items() if row["status"] == "finished"}
    missing = [trial for trial in asked if trial.trial_id not in finished]
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
        f"{len(missing)} of {len(asked)} trials are missing, intervals are wider for it: "
        + "; ".join(named)
        + (f"; and {more} more" if more > 0 else ""),
    )
