"""TensorBoard, MLflow and Weights & Biases: one class each, around the callbacks of Tune.

`FailSafeLogger` selects what a logger receives, and handles its errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final

if TYPE_CHECKING:
    from ray.tune.logger import LoggerCallback

    from sweeps.definition import Sweep, TrialSpec

Metrics = Mapping[str, float]
"""Values by name. `training_iteration` is the number of stages, which loggers use as the step."""

STAGES = "training_iteration"

ID_DIGITS = 8
"""Digits of the trial id at the end of the name of a folder, which make it unique."""
LONGEST_NAME = 120
"""Maximum number of characters of the name of a folder before the id."""


@final
class LoggedTrial:
    """Trial in the form that Tune's callbacks expect, with this package's ids and factors."""

    def __init__(self, sweep: Sweep, trial: TrialSpec, folder: Path) -> None:
        """`folder`: folder of this trial, or one folder for all trials."""
        self.trial_id = trial.trial_id
        self.local_path = str(folder)
        self.experiment_dir_name = sweep.name
        self.config: dict[str, object] = {
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


class TrialLogger(Protocol):
    """Interface of an external logger. Any method may raise any exception."""

    name: ClassVar[str]
    shows_failures: ClassVar[bool]
    """True if a trial that failed before its first metrics gets a run, too."""

    def setup(self) -> None:
        """Prepare the logger; called once, before all other methods."""

    def folder(self, trial: TrialSpec) -> Path:
        """Return the folder for the local files of a trial."""

    def start(self, trial: LoggedTrial) -> int:
        """Start the run of a trial, or continue it; return the number of stages that it has."""

    def log(self, trial: LoggedTrial, metrics: Metrics) -> None:
        """Add the metrics after a stage to the run of a trial."""

    def end(self, trial: LoggedTrial, stages: int, failed: bool) -> None:
        """End the run of a trial, which has `stages` stages."""

    def close(self) -> None:
        """Finish all output; called at the end of the sweep."""


class _CallbackLogger:
    """Methods that are the same for all callbacks of Tune."""

    def __init__(self, callback: LoggerCallback, folder: Path) -> None:
        self._callback, self._folder = callback, folder

    def setup(self) -> None:
        self._callback.setup()

    def folder(self, trial: TrialSpec) -> Path:
        return self._folder / trial.trial_id

    def start(self, trial: LoggedTrial) -> int:
        self._callback.log_trial_start(trial)
        return 0

    def log(self, trial: LoggedTrial, metrics: Metrics) -> None:
        # No callback uses the iteration of Tune; the result is a dict that callbacks may change.
        self._callback.log_trial_result(0, trial, dict(metrics))

    def end(self, trial: LoggedTrial, stages: int, failed: bool) -> None:
        self._callback.log_trial_end(trial, failed=failed)

    def close(self) -> None:
        self._callback.on_experiment_end(trials=[])


@final
class TensorBoardLogger(_CallbackLogger):
    """Writes event files, one folder per trial. A resumed trial continues in its folder.

    TensorBoard shows the name of the folder: label, order, seed, and the beginning of the id. It
    shows only metrics, and therefore no failures.
    """

    name: ClassVar[str] = "tensorboard"
    shows_failures: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        from ray.tune.logger import TBXLoggerCallback

        super().__init__(TBXLoggerCallback(), folder)

    def folder(self, trial: TrialSpec) -> Path:
        """Return the folder of the trial; the existing one if its label has changed.

        A new axis changes labels. Earlier versions named the folder by the id.
        """
        earlier = self._folder / trial.trial_id
        if earlier.is_dir():
            return earlier
        end = f"_{trial.trial_id[:ID_DIGITS]}"
        existing = sorted(self._folder.glob(f"*{end}")) if self._folder.is_dir() else []
        return existing[0] if existing else self._folder / f"{folder_name(trial)}{end}"


def folder_name(trial: TrialSpec) -> str:
    """Return label, order and seed of a trial as the name of a folder, without its id."""
    text = f"{trial.label}_order={trial.order_id}_seed={trial.seed}"
    kept = "".join(c if c.isalnum() or c in "=.,+-" else "_" for c in text)
    tail = f"_order={trial.order_id}_seed={trial.seed}"
    if len(kept) <= LONGEST_NAME or len(tail) >= LONGEST_NAME:
        return kept[:LONGEST_NAME]
    return kept[: LONGEST_NAME - len(tail)] + kept[-len(tail) :]


@final
class MlflowLogger(_CallbackLogger):
    """Sends each trial to a run of MLflow, which marks failures by its status."""

    name: ClassVar[str] = "mlflow"
    shows_failures: ClassVar[bool] = True

    def __init__(self, sweep: str, options: Mapping[str, Any], folder: Path) -> None:
        """`options`: arguments of Ray's callback."""
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        tags = {"sweep": sweep, **options.get("tags", {})}
        callback = MLflowLoggerCallback(**{"experiment_name": sweep, **options, "tags": tags})
        super().__init__(callback, folder)

    def start(self, trial: LoggedTrial) -> int:
        """Continue the run that an interrupted run of the sweep began for the trial."""
        util = self._callback.mlflow_util
        known = util._mlflow.search_runs(
            [util.experiment_id],
            filter_string=f"params.trial_id = '{trial.trial_id}'",
            output_format="list",
        )
        stages = 0
        if known:
            self._callback._trial_runs[trial] = known[0].info.run_id
            stages = int(known[0].data.metrics.get(STAGES, 0))
        super().start(trial)
        return stages


@final
class WandbLogger(_CallbackLogger):
    """Sends each trial to a run of Weights & Biases, which continues under the same id."""

    name: ClassVar[str] = "wandb"
    shows_failures: ClassVar[bool] = True

    def __init__(self, sweep: str, options: Mapping[str, Any]) -> None:
        """`options`: arguments of Ray's callback and of `wandb.init`."""
        from ray.air.integrations.wandb import WandbLoggerCallback

        chosen = {"project": sweep, "resume": "allow", "dir": ".", **options}
        folder = Path(chosen["dir"]).absolute()  # the process of W&B has another working directory
        super().__init__(WandbLoggerCallback(**{**chosen, "dir": str(folder)}), folder)

    def folder(self, trial: TrialSpec) -> Path:
        """Return the folder of all trials."""
        return self._folder

    def start(self, trial: LoggedTrial) -> int:
        trial.init_local_path()  # the working directory of the process of W&B
        return super().start(trial)

    def end(self, trial: LoggedTrial, stages: int, failed: bool) -> None:
        """End the run; W&B has no status for a failure, so that a metric marks it."""
        if failed:
            self.log(trial, {"failed": 1, STAGES: stages})
        super().end(trial, stages, failed)


def requested_loggers(sweep: Sweep, location: str) -> list[TrialLogger]:
    """Return the loggers that a sweep requests. `sweep.logging.refuse` must be called first.

    `location`: location of the storage.
    """
    requested: list[TrialLogger] = []
    section, folder = sweep.logging, Path(location, "sweeps", sweep.name, "tensorboard")
    if isinstance(section.tensorboard, str):
        folder = Path(section.tensorboard, sweep.name).absolute()
    if section.tensorboard is not False:
        requested.append(TensorBoardLogger(folder))
    if section.mlflow is not None:
        requested.append(MlflowLogger(sweep.name, section.mlflow, folder))
    if section.wandb is not None:
        requested.append(WandbLogger(sweep.name, section.wandb))
    return requested
