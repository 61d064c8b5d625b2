"""Callback of Tune that passes results to a logger and drops the logger at its first error.

Each logger gets few data: per stage the metrics of the trial so far, including stages that other
drivers trained, and once per trial its configuration. An error in a logger never affects the
sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

from ray.tune import Callback

from sweeps.execution.tune.loggers import STAGES, LoggedTrial, TrialLogger, requested_loggers
from sweeps.execution.tune.param_space import trial_id
from sweeps.stages.live_metrics import metrics_so_far

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from sweeps.definition import Sweep, TrialSpec
    from sweeps.stages.stage_store import StageStore

EarlierMetrics = Callable[["TrialSpec", int], Mapping[str, float]]
"""Returns the metrics of a trial after a number of stages, from the storage."""

REPORTED = ("trained", "evaluated", "done")
"""Outcomes of a step after which a logger gets data."""


class _StageResult(NamedTuple):
    """Data that a logger gets after a stage."""

    position: int
    """Number of stages of the trial so far."""
    metrics: Mapping[str, float]
    seconds: float


def loggers(
    sweep: Sweep,
    store: StageStore,
    trials: Mapping[str, TrialSpec],
    say: Callable[[str], None],
) -> list[Callback]:
    """Return the requested callbacks. `sweep.logging.refuse` must be called first."""

    def earlier(trial: TrialSpec, stages: int) -> Mapping[str, float]:
        return metrics_so_far(store, trial, trial.chain[:stages], list(sweep.objectives))

    return [
        FailSafeLogger(logger, sweep, trials, say, earlier)
        for logger in requested_loggers(sweep, store.objects.location)
    ]


@final
class FailSafeLogger(Callback):  # type: ignore[misc]  # ray is untyped
    """Wraps one logger, passes selected results, and drops it at its first error."""

    def __init__(
        self,
        logger: TrialLogger,
        sweep: Sweep,
        trials: Mapping[str, TrialSpec],
        say: Callable[[str], None],
        earlier: EarlierMetrics = lambda trial, stages: {},
    ) -> None:
        self._logger, self._sweep, self._trials = logger, sweep, trials
        self._say, self._earlier = say, earlier
        self._started: dict[str, LoggedTrial] = {}
        self._reported: dict[str, int] = {}
        """Number of stages of each trial that the logger has received."""
        self._works = True

    def __getstate__(self) -> dict[str, object]:
        """Return no state: Tune pickles its callbacks, but the pickle is never read."""
        return {}

    def setup(self, *limits: object, **info: object) -> None:
        self._do(self._logger.setup)

    def on_trial_result(
        self,
        iteration: int,
        trials: Sequence[Trial],
        trial: Trial,
        result: Mapping[str, Any],
        **info: object,
    ) -> None:
        if result["outcome"] not in REPORTED:
            return
        stage = _StageResult(result["position"], result["figures"], result["seconds"])
        self._do(lambda: self._report(trial_id(trial), stage))

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: object
    ) -> None:
        result = trial.last_result or {}
        self._do(lambda: self._end(trial_id(trial), failed=result.get("outcome") == "failed"))

    def on_trial_error(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: object
    ) -> None:
        self._do(lambda: self._end(trial_id(trial), failed=True))

    def on_experiment_end(self, trials: Sequence[Trial], **info: object) -> None:
        self._do(self._logger.close)

    def _report(self, mine: str, stage: _StageResult) -> None:
        """Log the metrics of a stage, after those of stages that other drivers trained."""
        logged = self._start(mine)
        for stages in range(self._reported.get(mine, 0) + 1, stage.position):
            metrics = self._earlier(self._trials[mine], stages)
            if metrics:
                self._logger.log(logged, {**metrics, STAGES: stages})
        values = {**stage.metrics, "stage_seconds": stage.seconds, STAGES: stage.position}
        self._logger.log(logged, values)
        self._reported[mine] = stage.position

    def _start(self, mine: str) -> LoggedTrial:
        """Start the trial at its first metrics, so that a waiting trial leaves no empty run."""
        if mine not in self._started:
            folder = self._logger.folder(self._trials[mine])
            logged = LoggedTrial(self._sweep, self._trials[mine], folder)
            stages = self._logger.start(logged)
            if stages:
                self._reported[mine] = stages
            self._started[mine] = logged
        return self._started[mine]

    def _end(self, mine: str, failed: bool) -> None:
        """End the run of a trial. A trial that failed before its first metrics gets a run, too."""
        if failed and self._logger.shows_failures:
            self._start(mine)
        logged = self._started.get(mine)
        if logged is not None:
            self._logger.end(logged, self._reported.get(mine, 0), failed)

    def _do(self, action: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  # no error of a logger may end the sweep
            self._works = False
            reason = (str(error) or type(error).__name__).splitlines()[0]
            self._say(f"logging to {self._logger.name} is given up, the sweep goes on: {reason}")
