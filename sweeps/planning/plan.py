"""Plan of a sweep: its requested trials and stages, and the part that is already stored."""

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
from sweeps.search.search_state import Step
from sweeps.search.stored_observations import StoredStep, read_step
from sweeps.stages.stage_store import StageStore


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """Result of the last attempt of a trial."""

    number: int
    status: str
    stages_done: int
    error: str | None
    readout_ids: tuple[str, ...]
    described: tuple[str, str, str]
    """Label, role and factors (canonical JSON) at the time when the row was written."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All known trials of a sweep, and the stages that are left to train."""

    sweep: Sweep
    step: Step
    """Trials that the sweep has requested so far; all of them, unless they depend on results."""
    trials: tuple[TrialSpec, ...]
    tree: StageTree
    """Tree of the requested stages: the chain of a trial may end before the trial does."""
    complete: frozenset[str]
    """Keys of the stages that are stored with every required evaluation."""
    stored: frozenset[str]
    """Keys of the stages that are stored: they need no training."""
    attempts: Mapping[str, LastAttempt]
    """Last attempts of the trials that have ended before, by trial id."""
    left_out: tuple[str, ...]
    """Keys of damaged files: of `trials`, whose attempts are not known, and of stages on which the
    step depends."""
    warnings: tuple[str, ...]
    """One sentence for each of these files, with the reason and the remedy."""

    def is_recorded(self, trial: TrialSpec) -> bool:
        """Return True if a row has the trial's ending, with the required readouts and labels."""
        last = self.attempts.get(trial.trial_id)
        readout_ids = tuple(readout.readout_id for readout in trial.readouts)
        described = (trial.label, trial.role, canonical_json(trial.factors))
        if last is None or (last.readout_ids, last.described) != (readout_ids, described):
            return False
        stopped = last.status == "stopped" and trial.trial_id in self.step.stopped
        here = last.stages_done == len(self.tree.chains[trial.trial_id])
        return last.status == "finished" or (stopped and here)

    def is_whole(self, trial: TrialSpec) -> bool:
        """Return True if the trial is requested to its end."""
        return len(self.tree.chains[trial.trial_id]) == trial.run.stages

    def is_done(self, trial: TrialSpec) -> bool:
        """Return True if every requested stage of the trial is complete."""
        return all(key in self.complete for key in self.tree.chains[trial.trial_id])

    def failed_before(self, trial: TrialSpec) -> bool:
        """Return True if the last attempt failed because of an error of the trial's own run."""
        last = self.attempts.get(trial.trial_id)
        return last is not None and last.status == "failed"

    def next_attempt(self, trial: TrialSpec) -> int:
        """Return the number of the next attempt."""
        last = self.attempts.get(trial.trial_id)
        return 1 if last is None else last.number + 1


def make_plan(
    sweep: Sweep,
    store: StageStore,
    step: Step | None = None,
    finished: Mapping[str, Set[str]] | None = None,
) -> Plan:
    """Return the plan of `sweep`, compared with the storage. Trains and writes nothing.

    `step`: current step of the sweep, if that is known already. `finished`: result of
    `store.finished`, if several sweeps of a storage are planned at once.
    """
    with _nothing_collected():
        return _plan(sweep, store, step, finished)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Disable garbage collection in the block.

    A plan keeps hundreds of thousands of objects; collecting them repeatedly would take a third of
    its time.
    """
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
    step, unread = StoredStep(step, {}) if step else read_step(sweep, store.objects)
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
    read = read_table(store.objects, sweep.name, "trials")
    return Plan(
        sweep=sweep,
        step=step,
        trials=trials,
        tree=tree,
        complete=stored - partial,
        stored=stored,
        attempts=_attempts(latest_trials(read.table)),
        left_out=(*read.damaged, *unread),
        warnings=(*read.warnings, *unread.values()),
    )


def _attempts(trials: pa.Table) -> dict[str, LastAttempt]:
    described = ["label", "role", "factors"]
    columns = ["trial_id", "attempt", "status", "stages_done", "error", "readout_ids", *described]
    return {
        row["trial_id"]: LastAttempt(
            number=row["attempt"],
            status=row["status"],
            stages_done=row["stages_done"],
            error=row["error"],
            readout_ids=tuple(row["readout_ids"]),
            described=(row["label"], row["role"], row["factors"]),
        )
        for row in trials.select(columns).to_pylist()
    }
