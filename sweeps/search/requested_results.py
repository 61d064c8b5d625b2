"""What a storage holds of the runs that a sweep asks for now."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sweeps.analysis.runs.metric_choice import Results
from sweeps.definition import Sweep
from sweeps.results import latest_trials, read_tables
from sweeps.search.missing_runs import missing_runs
from sweeps.search.step import Step
from sweeps.search.stored_observations import current_step
from sweeps.storage import ObjectStore


class RequestedTrials(NamedTuple):
    """What is there of what a sweep asks for."""

    trials: pa.Table
    """Last attempts of the trials that it wants now."""
    asked: int
    """How many it wants."""
    gaps: tuple[str, ...]
    """A sentence about those that did not finish, if some did."""


def read_results(sweep: Sweep, objects: ObjectStore) -> Results:
    """Trials that the sweep wants now, last attempts only, and all evaluations.

    Parts of trials and readouts that an earlier version of the sweep wanted stay in the storage.
    """
    reads = read_tables(objects, sweep.name, ["trials", "evals"], encoded=True)
    trials, evals = reads["trials"], reads["evals"]
    kept, _, gaps = requested_trials(current_step(sweep, objects), trials.table)
    return Results(kept, evals.table, (*trials.warnings, *evals.warnings, *gaps))


def requested_trials(step: Step, trials: pa.Table) -> RequestedTrials:
    """The rows of the table `trials` that a sweep has asked for by a step.

    Who was stopped early is wanted, but no gap.
    """
    ids = pa.array([trial.trial_id for trial in step.trials], pa.string())
    latest = latest_trials(trials)
    latest = latest.filter(pc.is_in(latest["trial_id"], value_set=ids))
    going = [trial for trial in step.trials if trial.trial_id not in step.stopped]
    return RequestedTrials(latest, len(step.trials), missing_runs(going, latest))
