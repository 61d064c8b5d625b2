"""What the driver does when Tune tells it something: write trial rows, show progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback

from sweeps.stages.trial_rows import Ending
from sweeps.storage import FULL, is_full, is_storage_fault
from sweeps.tune.causes import death_of
from sweeps.tune.scheduler import StageScheduler
from sweeps.tune.space import trial_id

if TYPE_CHECKING:
    from sweeps.spec import TrialSpec
    from sweeps.tune.job import Job


@final
class SweepCallback(Callback):  # type: ignore[misc]  # ray is untyped
    """Turns Tune's events into rows and lines."""

    def __init__(self, job: Job, scheduler: StageScheduler) -> None:
        self._job, self._scheduler = job, scheduler
        self._draining = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles all it is given, and nobody ever reads it."""
        return {}

    def on_step_end(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        self._job.check_interruption()
        if self._scheduler.draining and not self._draining:
            self._draining = True
            if self._job.budget_used is None:
                self._job.progress.say(
                    "stopping: the running stages are finished first "
                    "(again: stop now, lose only those)"
                )
        tally = self._job.progress.tally
        tally.active = self._scheduler.running
        tally.most_active = max(tally.most_active, tally.active)
        self._job.progress.tick()

    def on_trial_result(
        self,
        iteration: int,
        trials: Sequence[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if result.get("notes"):
            self._job.progress.say(result["notes"])
        if result["outcome"] == "trained":
            self._job.progress.tally.trained += 1
            self._job.progress.tally.stage_seconds += result["seconds"]
            self._job.spend(result["seconds"])

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any
    ) -> None:
        spec, result = self._job.trials[trial_id(trial)], trial.last_result or {}
        if result.get("outcome") == "halted":
            self._job.halt(FULL)
            return
        if result.get("outcome") == "failed":
            ending = Ending(
                status="failed",
                stages_done=result["position"],
                error=result["error"],
                error_kind=result["error_kind"],
            )
        elif result.get("position") == spec.run.stages:
            ending = Ending(status="finished", stages_done=len(spec.chain))
            if spec.role != "reference":
                self._job.progress.tally.note(spec.label, result["figures"])
        else:
            return  # interrupted, or asked for up to here: what becomes of it is decided later
        self._ended(spec, ending)

    def on_trial_recover(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any
    ) -> None:
        name, death = self._job.trials[trial_id(trial)].name, death_of(trial)
        if not death.counts and trial.run_metadata.num_failures > 0:
            trial.run_metadata.num_failures -= 1
        self._job.progress.say(f"{death.sentence}; goes on from its last stage: {name}")

    def on_trial_error(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any
    ) -> None:
        spec, death = self._job.trials[trial_id(trial)], death_of(trial)
        done = int((trial.last_result or {}).get("position", 0))
        ending = Ending(
            status="failed",
            stages_done=done,
            error=f"{death.sentence}, the last of {trial.run_metadata.num_failures} failures of "
            f"workers. {death.mend}",
            error_kind=death.kind,
        )
        self._ended(spec, ending)

    def _ended(self, spec: TrialSpec, ending: Ending) -> None:
        """Write the trial's row. If that fails, the next run writes it, so the sweep goes on."""
        try:
            self._job.ended(spec, ending)
        except Exception as error:
            if is_full(error):
                self._job.halt(FULL)
            elif is_storage_fault(error):
                self._job.progress.say(
                    f"the row of {spec.name} is written by the next run: {error}"
                )
            else:
                raise


@final
class NoTuneOutput(TrialProgressCallback):  # type: ignore[misc]  # ray is untyped
    """Stands where Tune would put a callback that prints, at any verbosity."""

    def on_trial_result(self, *arguments: Any, **info: Any) -> None:
        """Say nothing."""

    def on_trial_error(self, *arguments: Any, **info: Any) -> None:
        """Say nothing."""

    def on_trial_complete(self, *arguments: Any, **info: Any) -> None:
        """Say nothing."""


@final
class StopWhenDrained(Stopper):  # type: ignore[misc]  # ray is untyped
    """Ends the experiment once an interruption has let the running stages finish."""

    def __init__(self, scheduler: StageScheduler) -> None:
        self._scheduler = scheduler

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as above."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._scheduler.draining and self._scheduler.idle
