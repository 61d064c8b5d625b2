"""Callbacks of Tune in the driver: write trial rows, show progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, final

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback

from sweeps.execution.failures.failure_causes import worker_failure
from sweeps.execution.tune.param_space import trial_id
from sweeps.execution.tune.scheduler import StageScheduler
from sweeps.execution.worker.trial_message import StepResult
from sweeps.planning.driver_lock import SupersededError
from sweeps.results.event_kinds import Notice, WorkerLost
from sweeps.stages.trial_rows import AttemptResult
from sweeps.storage import FULL, is_full, is_storage_fault

if TYPE_CHECKING:
    from sweeps.definition import TrialSpec
    from sweeps.execution.cluster.cluster_watch import ClusterWatch
    from sweeps.execution.cluster.nodes import Nodes
    from sweeps.execution.failures.worker_failures import WorkerFailures
    from sweeps.execution.progress import Progress
    from sweeps.execution.run_accounting import Accounting
    from sweeps.execution.tune.trial_errors import TrialErrors
    from sweeps.results.events import EventLog


class Run(Protocol):
    """The run of a sweep, as callbacks of Tune see it."""

    @property
    def trials(self) -> Mapping[str, TrialSpec]:
        """Trials of the step, by id."""

    @property
    def account(self) -> Accounting:
        """Counts, rows and events."""

    @property
    def progress(self) -> Progress:
        """Output for people."""

    @property
    def events(self) -> EventLog:
        """Event log of the run."""

    @property
    def nodes(self) -> Nodes:
        """Nodes of the cluster."""

    @property
    def failures(self) -> WorkerFailures:
        """Lost workers by trial, against the retries that the sweep file allows."""

    @property
    def watch(self) -> ClusterWatch:
        """Excludes nodes on which trials cannot run."""

    @property
    def budget_used(self) -> str | None:
        """The limit that ended the run, in words; None if there was none."""

    def tick(self) -> None:
        """Do periodic work."""

    def halt(self, reason: str) -> None:
        """Start no further stages."""


@final
class SweepCallback(Callback):  # type: ignore[misc]  # ray is untyped
    """Converts Tune's events to rows and progress lines."""

    def __init__(self, run: Run, scheduler: StageScheduler, errors: TrialErrors) -> None:
        self._run, self._scheduler, self._errors = run, scheduler, errors
        self._draining = False

    def __getstate__(self) -> dict[str, object]:
        """Return no state: Tune pickles its callbacks, but the pickle is never read."""
        return {}

    def on_step_end(self, iteration: int, trials: Sequence[Trial], **info: object) -> None:
        if self._scheduler.draining and not self._draining:
            self._draining = True
            if self._run.budget_used is None:
                self._run.progress.say(
                    "stopping: the running stages are finished first "
                    "(again: stop now, lose only those)"
                )
        for message in self._scheduler.take_messages():
            self._run.progress.say(message)
            self._run.events.add(Notice(text=message))
        tally = self._run.progress.tally
        tally.active = self._scheduler.running
        tally.most_active = max(tally.most_active, tally.active)
        self._run.tick()

    def on_trial_result(
        self,
        iteration: int,
        trials: Sequence[Trial],
        trial: Trial,
        result: StepResult,
        **info: object,
    ) -> None:
        run = self._run
        if result.get("notes"):
            run.progress.say(result["notes"])
        run.watch.exclude_unusable(result)
        run.account.stage_done(trial_id(trial), result)

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: object
    ) -> None:
        spec, result = self._run.trials[trial_id(trial)], trial.last_result or {}
        if result.get("outcome") == "halted":
            self._run.halt(result["error"])
            return
        if result.get("outcome") == "failed":
            attempt = AttemptResult(
                status="failed",
                stages_done=result["position"],
                error=result["error"],
                error_kind=result["error_kind"],
                node=result["host"],
            )
        elif result.get("position") == spec.run.stages:
            attempt = AttemptResult(status="finished", stages_done=len(spec.chain))
            if spec.role != "reference":
                self._run.progress.tally.note(spec.label, result["figures"])
        else:
            return  # interrupted, or requested only up to here: its row is decided later
        self._ended(spec, attempt)

    def on_trial_recover(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: object
    ) -> None:
        """Decide by the retries if a trial continues that lost its worker and was queued again."""
        if self._lost_worker(trial):
            return
        self._scheduler.stop_for_good(trial)
        self._record_lost(trial)

    def on_trial_error(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: object
    ) -> None:
        """Record the end of a trial that Tune itself ended."""
        self._lost_worker(trial)
        self._record_lost(trial)

    def _lost_worker(self, trial: Trial) -> bool:
        """Count and report the lost worker; return True if the trial may continue."""
        run, mine = self._run, trial_id(trial)
        name = run.trials[mine].name
        failure = worker_failure(self._errors.last(trial), run.nodes)
        goes_on = run.failures.add(mine, failure)
        run.events.add(
            WorkerLost(
                trial=mine,
                name=name,
                node=failure.node,
                cause=failure.kind,
                detail=failure.detail,
            )
        )
        if goes_on:
            run.progress.say(f"{failure.sentence}; goes on from its last stage: {name}")
        return goes_on

    def _record_lost(self, trial: Trial) -> None:
        done = int((trial.last_result or {}).get("position", 0))
        result = self._run.failures.attempt_result(trial_id(trial), done)
        self._ended(self._run.trials[trial_id(trial)], result)

    def _ended(self, spec: TrialSpec, result: AttemptResult) -> None:
        """Write the trial's row; if that fails, the sweep continues and the next run writes it.

        A driver that was superseded writes no row and starts no further stages.
        """
        try:
            self._run.account.ended(spec, result)
        except SupersededError as error:
            self._run.halt(str(error))
        except Exception as error:
            if is_full(error):
                self._run.halt(FULL)
            elif is_storage_fault(error):
                self._run.progress.say(
                    f"the row of {spec.name} is written by the next run: {error}"
                )
            else:
                raise


@final
class NoTuneOutput(TrialProgressCallback):  # type: ignore[misc]  # ray is untyped
    """Replaces the callback with which Tune prints, at any verbosity."""

    def on_trial_result(self, *arguments: object, **info: object) -> None:
        """Print nothing."""

    def on_trial_error(self, *arguments: object, **info: object) -> None:
        """Print nothing."""

    def on_trial_complete(self, *arguments: object, **info: object) -> None:
        """Print nothing."""


@final
class StopWhenDrained(Stopper):  # type: ignore[misc]  # ray is untyped
    """Ends the experiment when the running stages are finished after an interruption."""

    def __init__(self, scheduler: StageScheduler) -> None:
        self._scheduler = scheduler

    def __getstate__(self) -> dict[str, object]:
        """Return no state, as above."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._scheduler.draining and self._scheduler.idle
