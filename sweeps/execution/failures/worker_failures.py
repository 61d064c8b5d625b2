"""Counts of lost workers per trial, against the retries that the sweep file allows."""

from __future__ import annotations

from collections import defaultdict
from typing import final

from sweeps.definition.retries import Retries
from sweeps.execution.failures.failure_causes import RetryBudget, WorkerFailure
from sweeps.stages.trial_rows import AttemptResult


@final
class WorkerFailures:
    """Records the lost workers of every trial in one run of the driver."""

    def __init__(self, retries: Retries) -> None:
        self._limits = {
            RetryBudget.WORKER_FAILURES: retries.worker_failures,
            RetryBudget.NODE_LOSSES: retries.node_losses,
            RetryBudget.PREEMPTIONS: retries.preemptions,
        }
        self._by_trial: dict[str, list[WorkerFailure]] = defaultdict(list)

    def add(self, trial_id: str, failure: WorkerFailure) -> bool:
        """Record a failure; return True if the trial may continue."""
        self._by_trial[trial_id].append(failure)
        return self._count(trial_id, failure.budget) <= self._limits[failure.budget]

    def attempt_result(self, trial_id: str, stages_done: int) -> AttemptResult:
        """Return the result of a trial whose last recorded failure ends it."""
        failure = self._by_trial[trial_id][-1]
        count, limit = self._count(trial_id, failure.budget), self._limits[failure.budget]
        text = (
            f"{failure.sentence}; failure {count} of its kind, "
            f"retries.{failure.budget} allows {limit}. {failure.hint}"
        )
        return AttemptResult(
            status="failed",
            stages_done=stages_done,
            error=f"{text.strip()} To try again: --retry-failed.",
            error_kind=failure.kind,
            node=failure.node,
        )

    def _count(self, trial_id: str, budget: RetryBudget) -> int:
        return sum(failure.budget == budget for failure in self._by_trial[trial_id])
