"""Trials by state and remaining stages, from a plan or, without one, from the event log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

import pyarrow as pa

from sweeps.definition import TrialSpec
from sweeps.planning.plan import Plan
from sweeps.results import latest_trials
from sweeps.results.history import History


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of the requested trials and stages. Each trial has one state."""

    trials: int
    finished: int
    stopped: int
    """Number of trials ended by early stopping."""
    running: int
    failed: int
    waiting: int
    configurations: int | None
    """Number of configurations; None if it is not known."""
    stages: int
    """Number of distinct stages."""
    stored: int
    to_train: int
    """Number of stages that are not stored and that running or waiting trials need."""
    exact: bool
    """True if the counts come from the storage. Otherwise they come from the event log, which
    lacks the events that a killed driver had not written yet."""


def counts_of_plan(plan: Plan, running: Collection[str]) -> Counts:
    """Return the counts of a plan. `running`: ids of trials that are being computed."""
    states: Counter[str] = Counter()
    needed: set[str] = set()
    for trial in plan.trials:
        state = "running" if trial.trial_id in running else _state(plan, trial)
        states[state] += 1
        if state in {"running", "waiting"}:
            needed.update(plan.tree.chains[trial.trial_id])
    return Counts(
        trials=len(plan.trials),
        finished=states["finished"],
        stopped=states["stopped"],
        running=states["running"],
        failed=states["failed"],
        waiting=states["waiting"],
        configurations=len({trial.config_id for trial in plan.trials}),
        stages=plan.tree.distinct,
        stored=len(plan.stored),
        to_train=len(needed - plan.stored),
        exact=True,
    )


def counts_of_log(history: History, rows: Mapping[str, int], running: int) -> Counts:
    """Return counts from the last logged plan. `rows`: trials by status in the table."""
    planning = [run for run in history.runs if run.planned is not None]
    last = planning[-1] if planning else None
    planned = last.planned if last is not None else None
    ended = sum(rows.values())
    trials = max(planned.trials if planned is not None else 0, ended)
    stored = planned.stored + last.trained_since_plan if planned and last else 0
    stages = planned.stages if planned is not None else 0
    return Counts(
        trials=trials,
        finished=rows.get("finished", 0),
        stopped=rows.get("stopped", 0),
        running=running,
        failed=rows.get("failed", 0),
        waiting=max(0, trials - ended - running),
        configurations=None,
        stages=stages,
        stored=min(stages, stored),
        to_train=max(0, stages - stored),
        exact=False,
    )


def row_counts(trials: pa.Table) -> Mapping[str, int]:
    """Return the number of trials in the table by the status of their last attempt."""
    return Counter(latest_trials(trials)["status"].to_pylist())


def _state(plan: Plan, trial: TrialSpec) -> str:
    if plan.is_recorded(trial):
        return "stopped" if trial.trial_id in plan.step.stopped else "finished"
    return "failed" if plan.failed_before(trial) else "waiting"
