"""Backlog: the part of a sweep that is still to be trained, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from sweeps.definition import Resources, Sweep, TrialSpec
from sweeps.definition.trial_patterns import chosen_trials
from sweeps.execution.progress import Tally
from sweeps.planning.plan import Plan, make_plan
from sweeps.search.controller import next_step
from sweeps.search.stored_observations import StoredObservations, failed_attempts
from sweeps.stages.stage_rows import materialize_stage, repair_tables
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial


@final
class Backlog:
    """Remaining trials of a sweep, step by step; planned again whenever a step is over."""

    def __init__(
        self,
        sweep: Sweep,
        store: StageStore,
        retry_failed: bool = False,
        only: Sequence[str] = (),
        require_current: Callable[[], None] = lambda: None,
    ) -> None:
        """`require_current`: called before the row of a trial is written; it may raise."""
        self.sweep, self.store, self.only = sweep, store, only
        self._require_current = require_current
        self.tally = Tally(trials=0, stages=0, objectives=sweep.objectives)
        self.failed: dict[str, str] = {}
        """Causes, by trial id, of trials whose last attempt failed and that are not retried."""
        self._repaired = repair_tables(store, sweep.name)
        self._retried = failed_attempts(sweep, store.objects) if retry_failed else {}
        self._observed = StoredObservations(sweep, store.objects, self._retried)
        self._seen: set[str] = set()
        self._found: set[str] = set()
        self._taken = False
        self.plan = self._look()

    def take(self) -> list[TrialSpec]:
        """Return the incomplete trials of the next step; empty if no trial is left."""
        while True:
            if self._taken:
                if self.plan.step.finished:
                    return []
                self._observed.refresh()
                before, self.plan = self.plan.step, self._look()
                if (self.plan.step.number, self.plan.step.open) == (before.number, before.open):
                    # the step changed nothing: its missing results cannot be computed now
                    return []
            self._taken = True
            todo = self._todo()
            if todo:
                return todo

    def use(self, resources: Resources) -> None:
        """Use these resources in later plans: `resources.gpu: auto` is decided."""
        self.sweep = replace(self.sweep, resources=resources)
        self.plan = replace(self.plan, sweep=replace(self.plan.sweep, resources=resources))

    def record(self, trial: TrialSpec, result: AttemptResult) -> None:
        """Write the row of an ended attempt of a trial of the current step.

        Raises `MissingStagesError` if a finished trial lacks stages, and `SupersededError` if
        another version of the sweep was run since this driver was suspended.
        """
        self._require_current()
        record_trial(self.store, self.sweep, trial, self.plan.next_attempt(trial), result)

    def plan_as_found(self) -> Plan:
        """Return the last plan, with the stages that were stored before any was trained."""
        return replace(self.plan, stored=frozenset(self._found))

    def _look(self) -> Plan:
        plan = make_plan(self.sweep, self.store, next_step(self.sweep, self._observed))
        self._found |= plan.stored - self._seen
        self._seen.update(plan.tree.nodes)
        return plan

    def _todo(self) -> list[TrialSpec]:
        plan = self.plan
        chosen = chosen_trials(plan.trials, self.only)
        unread = {*plan.step.open}  # stored according to the plan, but it could not be read
        done = {
            t.trial_id
            for t in plan.trials
            if plan.is_done(t)
            and (
                (plan.is_recorded(t) and not self._repaired and t.trial_id not in unread)
                or self._closed(t)
            )
        }
        self._repaired = False
        left = [t for t in plan.trials if t.trial_id not in done]
        skipped = [t for t in left if plan.failed_before(t) and not self._again(t)]
        todo = [t for t in left if t not in skipped and t.trial_id in chosen]
        self.failed = {t.trial_id: plan.attempts[t.trial_id].error or "unknown" for t in skipped}
        missing = {k for t in todo for k in plan.tree.chains[t.trial_id]} - plan.stored
        self.tally.trials = len(plan.trials)
        self.tally.stages = self.tally.trained + len(missing)
        self.tally.finished = sum(plan.is_whole(t) for t in plan.trials if t.trial_id in done)
        self.tally.failed = len(skipped)
        self.tally.reused = len(self._found)
        return todo

    def _again(self, trial: TrialSpec) -> bool:
        """Return True if the trial's failure is one that is retried."""
        return self._retried.get(trial.trial_id) == self.plan.attempts[trial.trial_id].number

    def _closed(self, trial: TrialSpec) -> bool:
        """Write the rows of a trial with all stages; return False if a stage is damaged."""
        plan, chain = self.plan, self.plan.tree.chains[trial.trial_id]
        if not all(materialize_stage(self.store, self.sweep.name, trial, key) for key in chain):
            return False
        stopped = trial.trial_id in plan.step.stopped
        if (plan.is_whole(trial) or stopped) and not plan.is_recorded(trial):
            result = AttemptResult(
                status="stopped" if stopped else "finished", stages_done=len(chain)
            )
            self.record(trial, result)
        return True
