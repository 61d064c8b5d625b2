"""Accounting of a run: stages and trials that ended, in tables, event log, progress and budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

from sweeps.definition import Resources, TrialSpec
from sweeps.execution.progress import Progress
from sweeps.execution.worker.trial_message import StepResult
from sweeps.planning.plan import Plan
from sweeps.planning.spending import Spending
from sweeps.results.event_kinds import Planned, StageDone, TrialEnded
from sweeps.results.events import EventLog
from sweeps.stages.trial_rows import AttemptResult, MissingStagesError


@final
class Accounting:
    """Records what ends during a run, and notices when the budget is used up."""

    def __init__(
        self,
        record: Callable[[TrialSpec, AttemptResult], None],
        progress: Progress,
        events: EventLog,
        spending: Spending,
        budget_reached: Callable[[str], None],
    ) -> None:
        """`record`: writes the row of an ended attempt.

        `budget_reached`: called with the limit, in words, whenever a count is at a limit."""
        self.spending = spending
        self.failed: dict[str, str] = {}
        """Causes by trial id."""
        self._record, self._progress, self._events = record, progress, events
        self._budget_reached = budget_reached
        self._plan: Plan | None = None
        self._ended: set[str] = set()

    @property
    def plan(self) -> Plan:
        """Plan of the step that runs."""
        assert self._plan is not None, "no step has begun"
        return self._plan

    def begin(self, plan: Plan, todo: int) -> None:
        """Begin a step; `todo` is the number of its trials that run."""
        self._plan = plan
        self._ended.clear()
        self._events.add(
            Planned(
                step=plan.step.number,
                title=plan.step.title,
                trials=len(plan.trials),
                todo=todo,
                stages=plan.tree.distinct,
                stored=len(plan.stored),
            )
        )

    def use(self, plan: Plan, resources: Resources) -> None:
        """Count with the decided resources of a plan."""
        self._plan = plan
        self.spending = replace(self.spending, gpus=resources.gpus or 0.0)
        self._check_budget()

    def stage_done(self, trial_id: str, result: StepResult) -> None:
        """Record and count the stage of a step's result, if the step computed one."""
        outcome = result["outcome"]
        if outcome == "trained" or outcome == "evaluated":  # narrows the type
            self._events.add(
                StageDone(
                    trial=trial_id,
                    key=result["key"],
                    position=result["position"] - 1,
                    outcome=outcome,
                    seconds=round(result["seconds"], 3),
                    node=result["host"],
                    gpus=result["gpus"],
                )
            )
        if outcome == "trained":
            self._progress.tally.trained += 1
            self._progress.tally.stage_seconds += result["seconds"]
            self.spending = self.spending.with_stage(result["seconds"])
            self._check_budget()

    def ended(self, trial: TrialSpec, result: AttemptResult) -> None:
        """Write the row of an ended attempt and count it. A second call for it does nothing."""
        if trial.trial_id in self._ended:
            return
        self._ended.add(trial.trial_id)
        try:
            self._record(trial, result)
        except MissingStagesError as error:  # without a row, the next run continues the trial
            self._count_failed(trial, str(error), "not finished")
            return
        self._events.add(
            TrialEnded(
                trial=trial.trial_id,
                name=trial.name,
                status=result.status,
                stages=result.stages_done,
                error_kind=result.error_kind,
                error=result.error,
                node=result.node,
            )
        )
        if result.status == "finished":
            self.failed.pop(trial.trial_id, None)
            self._progress.tally.finished += 1
            self.spending = self.spending.with_trial()
            self._check_budget()
        elif result.status == "failed":
            self._count_failed(trial, result.error or "unknown", "failed")

    def _count_failed(self, trial: TrialSpec, cause: str, state: str) -> None:
        self._progress.tally.failed += 1
        self.failed[trial.trial_id] = cause
        self._progress.say(f"{state}: {trial.name}: {cause}")

    def _check_budget(self) -> None:
        reached = self.spending.reached(self.plan.sweep.budget)
        if reached is not None:
            self._budget_reached(reached)
