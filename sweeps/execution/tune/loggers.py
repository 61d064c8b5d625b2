"""Logging to TensorBoard, MLflow and Weights & Biases through Tune's own callbacks.

Each logger gets few data: per stage the metrics of the trial so far, including stages that other
drivers trained, and once per trial its configuration. An error in a logger never affects the
sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ray.tune import Callback

from sweeps.execution.tune.param_space import trial_id
from sweeps.stages.live_metrics import metrics_so_far

if TYPE_CHECKING:
    from ray.tune.experiment import Trial
    from ray.tune.logger import LoggerCallback

    from sweeps.definition import Sweep, TrialSpec
    from sweeps.stages.stage_store import StageStore

Earlier = Callable[["TrialSpec", int], Mapping[str, float]]
"""Returns the metrics of a trial after a number of stages, from the storage."""

REPORTED = ("trained", "evaluated", "done")
"""Outcomes of a step after which a logger gets data."""


def loggers(
    sweep: Sweep,
    store: StageStore,
    trials: Mapping[str, TrialSpec],
    say: Callable[[str], None],
) -> list[Callback]:
    """Return the requested callbacks. `sweep.logging.refuse` must be called first."""
    enabled, made = sweep.logging.enabled, dict[str, Any]()
    folder = Path(store.objects.location, "sweeps", sweep.name, "tensorboard")
    folders: dict[str, Path] = {}
    if "tensorboard" in enabled:
        from ray.tune.logger import TBXLoggerCallback

        made["tensorboard"] = TBXLoggerCallback()
        if enabled["tensorboard"] is not True:
            folder = Path(enabled["tensorboard"], sweep.name).absolute()
    if "mlflow" in enabled:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        options = {"experiment_name": sweep.name, **enabled["mlflow"]}
        options["tags"] = {"sweep": sweep.name, **options.get("tags", {})}
        made["mlflow"] = MLflowLoggerCallback(**options)
    if "wandb" in enabled:
        from ray.air.integrations.wandb import WandbLoggerCallback

        options = {"project": sweep.name, "resume": "allow", "dir": ".", **enabled["wandb"]}
        # its process has another working directory
        folders["wandb"] = Path(options["dir"]).absolute()
        made["wandb"] = WandbLoggerCallback(**{**options, "dir": str(folders["wandb"])})

    def earlier(trial: TrialSpec, stages: int) -> Mapping[str, float]:
        return metrics_so_far(store, trial, trial.chain[:stages], list(sweep.objectives))

    return [
        FailSafeLogger(name, each, sweep, trials, folders.get(name, folder), say, earlier)
        for name, each in made.items()
    ]


@final
class LoggedTrial:
    """Trial in the form that a logger expects, with this package's ids and factors."""

    def __init__(self, sweep: Sweep, trial: TrialSpec, folder: Path) -> None:
        """`folder`: folder of this trial, or one folder for all trials."""
        self.trial_id = trial.trial_id
        self.local_path = str(folder)
        self.experiment_dir_name = sweep.name
        self.config = {
            "label": trial.label,
            "order": trial.order_id,
            "seed": trial.seed,
            "trial_id": trial.trial_id,
            **trial.factors,
        }
        self.evaluated_params = self.config
        self._name = trial.name

    def __str__(self) -> str:
        return self._name

    def init_local_path(self) -> None:
        """Create the folder of the trial."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


@final
class FailSafeLogger(Callback):  # type: ignore[misc]  # ray is untyped
    """Wraps one logger of Tune, passes selected results, and drops it at its first error."""

    def __init__(
        self,
        name: str,
        logger: LoggerCallback,
        sweep: Sweep,
        trials: Mapping[str, TrialSpec],
        folder: Path,
        say: Callable[[str], None],
        earlier: Earlier = lambda trial, stages: {},
    ) -> None:
        self._name, self._logger, self._say = name, logger, say
        self._trials, self._sweep, self._folder = trials, sweep, folder
        self._earlier = earlier
        self._started: dict[str, LoggedTrial] = {}
        self._reported: dict[str, int] = {}
        """Number of stages of each trial that the logger has received."""
        self._works = True

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its callbacks, but the pickle is never read."""
        return {}

    def setup(self, stop: Any = None, num_samples: Any = None, **info: Any) -> None:
        self._do(lambda: self._logger.setup(stop, num_samples, **info))

    def on_trial_result(
        self,
        iteration: int,
        trials: Sequence[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if result["outcome"] not in REPORTED:
            return
        self._do(lambda: self._report(iteration, trial, result))

    def on_trial_complete(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any
    ) -> None:
        result = trial.last_result or {}
        self._end(trial, failed=result.get("outcome") == "failed")

    def on_trial_error(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any
    ) -> None:
        self._end(trial, failed=True)

    def on_experiment_end(self, trials: Sequence[Trial], **info: Any) -> None:
        self._do(lambda: self._logger.on_experiment_end(trials=trials, **info))

    def _report(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        """Log the metrics of a stage, after those of stages that other drivers trained."""
        logged, mine, position = self._start(trial), trial_id(trial), result["position"]
        for stages in range(self._reported.get(mine, 0) + 1, position):
            figures = self._earlier(self._trials[mine], stages)
            if figures:
                values = {**figures, "training_iteration": stages}
                self._logger.log_trial_result(iteration, logged, values)
        values = {
            **result["figures"],
            "stage_seconds": result["seconds"],
            "training_iteration": position,
        }
        self._logger.log_trial_result(iteration, logged, values)
        self._reported[mine] = position

    def _start(self, trial: Trial) -> LoggedTrial:
        """Start the trial at its first metrics, so that a waiting trial leaves no empty run."""
        mine = trial_id(trial)
        if mine not in self._started:
            folder = self._folder if self._name == "wandb" else self._folder / mine
            logged = LoggedTrial(self._sweep, self._trials[mine], folder)
            self._adopt(logged)
            if self._name == "wandb":
                logged.init_local_path()  # the working directory of its process
            self._logger.log_trial_start(logged)
            self._started[mine] = logged
        return self._started[mine]

    def _adopt(self, logged: LoggedTrial) -> None:
        """Continue the MLflow run that an interrupted run of the sweep began for the trial.

        TensorBoard continues in the same folder, and Weights & Biases under the same id, without
        further steps.
        """
        if self._name != "mlflow":
            return
        util = self._logger.mlflow_util
        experiment = [util.experiment_id]
        known = util._mlflow.search_runs(
            experiment,
            filter_string=f"params.trial_id = '{logged.trial_id}'",
            output_format="list",
        )
        if known:
            self._logger._trial_runs[logged] = known[0].info.run_id
            position = known[0].data.metrics.get("training_iteration", 0)
            self._reported[logged.trial_id] = int(position)

    def _end(self, trial: Trial, failed: bool) -> None:
        """End the run of a trial. A trial that failed before its first metrics gets a run too.

        MLflow marks the failure. TensorBoard shows only metrics and therefore nothing.
        """
        if failed and self._name != "tensorboard":
            self._do(lambda: self._mark_failed(trial))
        logged = self._started.get(trial_id(trial))
        if logged is not None:
            self._do(lambda: self._logger.log_trial_end(logged, failed=failed))

    def _mark_failed(self, trial: Trial) -> None:
        logged, position = self._start(trial), self._reported.get(trial_id(trial), 0)
        if self._name == "wandb":
            self._logger.log_trial_result(0, logged, {"failed": 1, "training_iteration": position})

    def _do(self, action: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  # no error of a logger may end the sweep
            self._works = False
            reason = (str(error) or type(error).__name__).splitlines()[0]
            self._say(f"logging to {self._name} is given up, the sweep goes on: {reason}")
