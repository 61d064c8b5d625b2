"""Plan of a sweep: what it wants, less what the storage already holds."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import pyarrow as pa

from clmethods.config import canonical_json, evaluation_id, partition_id
from sweeps.definition import Sweep, TrialSpec
from sweeps.planning.stage_tree import StageTree
from sweeps.results import latest_trials, read_table
from sweeps.search.step import Step
from sweeps.search.stored_observations import current_step
from sweeps.stages.stage_store import StageStore


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """How the last attempt of a trial ended."""

    number: int
    status: str
    stages_done: int
    error: str | None
    readout_ids: tuple[str, ...]
    told: tuple[str, str, str]
    """Label, role and factors (canonical JSON) as they were when the row was written."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All trials of a sweep that are known, and what is left to do."""

    sweep: Sweep
    step: Step
    """What the sweep has asked for by now; everything, unless it depends on results."""
    trials: tuple[TrialSpec, ...]
    tree: StageTree
    """Of the stages that are asked for: a chain may end before its trial does."""
    complete: frozenset[str]
    """Keys of the stages that are stored, with every evaluation that is wanted of them."""
    stored: frozenset[str]
    """Keys of the stages that are stored: they need no training."""
    attempts: Mapping[str, LastAttempt]
    """By trial id, of trials that have ended before."""

    def is_recorded(self, trial: TrialSpec) -> bool:
        """Whether a row says how the trial ended, with the readouts and labels now wanted."""
        last = self.attempts.get(trial.trial_id)
        readout_ids = tuple(readout.readout_id for readout in trial.readouts)
        told = (trial.label, trial.role, canonical_json(trial.factors))
        if last is None or (last.readout_ids, last.told) != (readout_ids, told):
            return False
        stopped = last.status == "stopped" and trial.trial_id in self.step.stopped
        here = last.stages_done == len(self.tree.chains[trial.trial_id])
        return last.status == "finished" or (stopped and here)

    def is_whole(self, trial: TrialSpec) -> bool:
        """Whether the trial is wanted to its end."""
        return len(self.tree.chains[trial.trial_id]) == trial.run.stages

    def is_done(self, trial: TrialSpec) -> bool:
        """Whether every stage that is asked for is complete."""
        return all(key in self.complete for key in self.tree.chains[trial.trial_id])

    def failed_before(self, trial: TrialSpec) -> bool:
        """Whether its last attempt failed by a fault of its own."""
        last = self.attempts.get(trial.trial_id)
        return last is not None and last.status == "failed"

    def next_attempt(self, trial: TrialSpec) -> int:
        """Number of the attempt that comes next."""
        last = self.attempts.get(trial.trial_id)
        return 1 if last is None else last.number + 1


def make_plan(
    sweep: Sweep,
    store: StageStore,
    step: Step | None = None,
    finished: Mapping[str, Set[str]] | None = None,
) -> Plan:
    """Look up in the storage what of `sweep` is there. Trains and writes nothing.

    `step`: where the sweep stands, if that is known already. `finished`: what `store.finished`
    returned, where several sweeps of a storage are planned at once.
    """
    with _nothing_collected():
        return _plan(sweep, store, step, finished)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """A plan keeps all it makes, hundreds of thousands of objects: searching them for garbage
    again and again would take a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _plan(
    sweep: Sweep,
    store: StageStore,
    step: Step | None,
    finished: Mapping[str, Set[str]] | None,
) -> Plan:
    step = step or current_step(sweep, store.objects)
    trials = step.trials
    tree = StageTree.of(trials, step.lengths)
    finished = store.finished() if finished is None else finished
    stored = frozenset(tree.nodes.keys() & finished.keys())
    identity = lru_cache(maxsize=4096)(evaluation_id)
    partial: set[str] = set()
    for trial in trials if stored else ():
        partition = partition_id(trial.run)
        needed = {identity(readout, partition) for readout in trial.readouts}
        for key in tree.chains[trial.trial_id]:
            if key in stored and not needed <= finished[key]:
                partial.add(key)
    return Plan(
        sweep=sweep,
        step=step,
        trials=trials,
        tree=tree,
        complete=stored - partial,
        stored=stored,
        attempts=_attempts(latest_trials(read_table(store.objects, sweep.name, "trials").table)),
    )


def _attempts(trials: pa.Table) -> dict[str, LastAttempt]:
    told = ["label", "role", "factors"]
    columns = ["trial_id", "attempt", "status", "stages_done", "error", "readout_ids", *told]
    return {
        row["trial_id"]: LastAttempt(
            number=row["attempt"],
            status=row["status"],
            stages_done=row["stages_done"],
            error=row["error"],
            readout_ids=tuple(row["readout_ids"]),
            told=(row["label"], row["role"], row["factors"]),
        )
        for row in trials.select(columns).to_pylist()
    }
