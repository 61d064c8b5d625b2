"""Stored results of the runs that a sweep currently requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sweeps.analysis.trials.metric_choice import Results
from sweeps.definition import Sweep
from sweeps.results import latest_trials, read_tables
from sweeps.search.missing_runs import missing_runs
from sweeps.search.search_state import Step
from sweeps.search.stored_observations import read_step
from sweeps.storage import ObjectStore


class RequestedTrials(NamedTuple):
    """Stored trials of a sweep, compared with the requested ones."""

    trials: pa.Table
    """Last attempts of the requested trials."""
    asked: int
    """Number of requested trials."""
    gaps: tuple[str, ...]
    """One sentence about the trials that have not finished; empty if there are none."""


def read_results(sweep: Sweep, objects: ObjectStore) -> Results:
    """Return the requested trials, last attempts only, and all evaluations.

    Trials and readouts that only an earlier version of the sweep requested stay in the storage.
    """
    reads = read_tables(objects, sweep.name, ["trials", "evals"], encoded=True)
    trials, evals = reads["trials"], reads["evals"]
    step, unread = read_step(sweep, objects)
    warnings = (*trials.warnings, *evals.warnings, *unread.values())
    left_out = (*trials.damaged, *evals.damaged, *unread)
    return requested_results(step, trials.table, evals.table, warnings, left_out)


def requested_results(
    step: Step,
    trials: pa.Table,
    evals: pa.Table,
    warnings: Iterable[str],
    left_out: Iterable[str],
) -> Results:
    """Return the results of the requested trials among the stored ones.

    `warnings` and `left_out`: those of the reading of the tables.
    """
    kept, _, gaps = requested_trials(step, trials)
    every = dict.fromkeys((*warnings, *gaps))
    return Results(kept, evals, tuple(every), tuple(dict.fromkeys(left_out)))


def requested_trials(step: Step, trials: pa.Table) -> RequestedTrials:
    """Return the rows of the table `trials` that a sweep has requested in a step.

    Trials that were stopped early are requested, but do not count as missing.
    """
    ids = pa.array([trial.trial_id for trial in step.trials], pa.string())
    latest = latest_trials(trials)
    latest = latest.filter(pc.is_in(latest["trial_id"], value_set=ids))
    expected = [trial for trial in step.trials if trial.trial_id not in step.stopped]
    return RequestedTrials(latest, len(step.trials), missing_runs(expected, latest))
