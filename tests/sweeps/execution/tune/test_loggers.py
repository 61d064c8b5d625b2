"""Values that loggers receive, and the warning when a logger fails."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition import TrialSpec, expand, sweep_from_dict
from sweeps.definition.logging import PACKAGES, Logging
from sweeps.execution.tune.fail_safe_logger import FailSafeLogger
from sweeps.execution.tune.loggers import (
    LoggedTrial,
    Metrics,
    TensorBoardLogger,
    TrialLogger,
    folder_name,
    requested_loggers,
)
from sweeps.stages.live_metrics import metrics_so_far
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.execution.conftest import SWEEP
from tests.sweeps.execution.drivers import run_to_end, write_sweep
from tests.sweeps.execution.logged import mlflow_runs, scalars, wandb_runs
from tests.sweeps.stages.small import small_sweep, small_trial


def guarded(folder: Path, trial: TrialSpec) -> tuple[FailSafeLogger, list[str]]:
    said: list[str] = []
    trials = {trial.trial_id: trial}
    logger = FailSafeLogger(TensorBoardLogger(folder), small_sweep(), trials, said.append)
    return logger, said


def step(position: int, outcome: str = "trained") -> dict[str, Any]:
    figures = {"average_accuracy": position / 10}
    return {"outcome": outcome, "position": position, "figures": figures, "seconds": 1.0}


def tunes(trial: TrialSpec) -> Any:
    """As much of Tune's own trial as a callback reads."""
    config = {"trial_id": trial.trial_id}
    return SimpleNamespace(config=config, last_result={"outcome": "trained"})


def test_a_trial_that_is_resumed_goes_on_in_its_run(tmp_path: Path) -> None:
    trial = small_trial()
    for positions in ([1], [2, 3]):
        logger, said = guarded(tmp_path, trial)
        logger.on_trial_result(0, [], tunes(trial), step(0, "waiting"))
        for position in positions:
            logger.on_trial_result(0, [], tunes(trial), step(position))
        logger.on_trial_complete(0, [], tunes(trial))
        assert said == []
        time.sleep(1.1)  # event files are named by the second, and runs take longer than that
    (folder,) = tmp_path.iterdir()
    printed = scalars(folder)["ray/tune/average_accuracy"]
    assert printed == {n: pytest.approx(n / 10) for n in (1, 2, 3)}


def test_a_logger_that_fails_is_disabled_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    logger, said = guarded(tmp_path / "taken", small_trial())
    for position in (1, 2):
        logger.on_trial_result(0, [], tunes(small_trial()), step(position))
    logger.on_trial_complete(0, [], tunes(small_trial()))
    (sentence,) = said
    assert sentence.startswith("logging to tensorboard is given up, the sweep goes on: ")


class Recorder:
    """A logger that keeps what it receives, and raises an error in the methods of `broken`."""

    name = "recorder"
    shows_failures = True

    def __init__(self, stages: int = 0, broken: tuple[str, ...] = ()) -> None:
        self.stages, self.broken = stages, broken
        self.calls: list[tuple[object, ...]] = []

    def _keep(self, method: str, *values: object) -> None:
        self.calls.append((method, *values))
        if method in self.broken:
            raise ConnectionError("no route\nto the server")

    def setup(self) -> None:
        self._keep("setup")

    def folder(self, trial: TrialSpec) -> Path:
        return Path("logs", trial.trial_id)

    def start(self, trial: LoggedTrial) -> int:
        self._keep("start", trial.trial_id)
        return self.stages

    def log(self, trial: LoggedTrial, metrics: Metrics) -> None:
        self._keep("log", dict(metrics))

    def end(self, trial: LoggedTrial, stages: int, failed: bool) -> None:
        self._keep("end", stages, failed)

    def close(self) -> None:
        self._keep("close")


def recorded(recorder: Recorder) -> tuple[FailSafeLogger, list[str]]:
    """Return a callback around the recorder; stage n of other drivers has the accuracy n."""
    said: list[str] = []
    logger: TrialLogger = recorder  # type: ignore[assignment]  # a name per test
    trials = {small_trial().trial_id: small_trial()}
    callback = FailSafeLogger(
        logger, small_sweep(), trials, said.append, lambda trial, n: {"average_accuracy": n}
    )
    return callback, said


def test_stages_of_other_drivers_are_logged_first_and_a_run_ends_once() -> None:
    recorder, trial = Recorder(), tunes(small_trial())
    callback, said = recorded(recorder)
    callback.setup(None, 1, total_num_samples=1)
    callback.on_trial_result(1, [], trial, step(0, "waiting"))
    callback.on_trial_result(2, [], trial, step(3))
    callback.on_trial_complete(3, [], trial)
    callback.on_experiment_end([])
    assert recorder.calls == [
        ("setup",),
        ("start", small_trial().trial_id),
        ("log", {"average_accuracy": 1, "training_iteration": 1}),
        ("log", {"average_accuracy": 2, "training_iteration": 2}),
        ("log", {"average_accuracy": 0.3, "stage_seconds": 1.0, "training_iteration": 3}),
        ("end", 3, False),
        ("close",),
    ]
    assert said == []


def test_a_run_that_has_stages_already_does_not_get_them_again() -> None:
    recorder, trial = Recorder(stages=2), tunes(small_trial())
    callback, _ = recorded(recorder)
    callback.on_trial_result(1, [], trial, step(3))
    logged = [call for call in recorder.calls if call[0] == "log"]
    assert logged == [
        ("log", {"average_accuracy": 0.3, "stage_seconds": 1.0, "training_iteration": 3})
    ]


@pytest.mark.parametrize("shows_failures", [True, False])
def test_a_trial_that_fails_at_once_has_a_run_where_failures_are_shown(
    shows_failures: bool,
) -> None:
    recorder, trial = Recorder(), tunes(small_trial())
    recorder.shows_failures = shows_failures
    callback, _ = recorded(recorder)
    callback.on_trial_error(1, [], trial)
    run = [("start", small_trial().trial_id), ("end", 0, True)]
    assert recorder.calls == (run if shows_failures else [])


@pytest.mark.parametrize("method", ["setup", "start", "log", "end", "close"])
def test_no_method_is_called_after_an_error(method: str) -> None:
    recorder, trial = Recorder(broken=(method,)), tunes(small_trial())
    callback, said = recorded(recorder)
    callback.setup()
    callback.on_trial_result(1, [], trial, step(1))
    callback.on_trial_complete(2, [], trial)
    callback.on_experiment_end([])
    assert recorder.calls[-1][0] == method
    assert said == ["logging to recorder is given up, the sweep goes on: no route"]


def test_the_requested_loggers_and_their_folders(tmp_path: Path) -> None:
    assert requested_loggers(small_sweep(), "/storage") == []
    (logger,) = requested_loggers(small_sweep(logging={"tensorboard": True}), "/storage")
    assert (logger.name, logger.shows_failures) == ("tensorboard", False)
    name = f"{folder_name(small_trial())}_{small_trial().trial_id[:8]}"
    assert logger.folder(small_trial()) == Path("/storage/sweeps/small/tensorboard", name)
    (logger,) = requested_loggers(small_sweep(logging={"tensorboard": str(tmp_path)}), "/storage")
    assert logger.folder(small_trial()) == tmp_path / "small" / name
    assert requested_loggers(small_sweep(logging={"tensorboard": False}), "/storage") == []


def test_a_run_of_tensorboard_is_named_by_label_order_and_seed(tmp_path: Path) -> None:
    trial = replace(small_trial(), label="größer, a/b: x=0.2")
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    first = logger.folder(trial)
    assert first.name.startswith(f"größer,_a_b__x=0.2_order={trial.order_id}_seed={trial.seed}_")
    first.mkdir(parents=True)
    assert logger.folder(replace(trial, label="another label")) == first
    earlier = tmp_path / "tensorboard" / trial.trial_id
    earlier.mkdir()
    assert logger.folder(trial) == earlier
    long = folder_name(replace(trial, label="a" * 500))
    assert len(long) == 120
    assert long.endswith(f"_order={trial.order_id}_seed={trial.seed}")


class FakeCallback:
    """A callback of Ray for a service that is not installed; keeps what it receives."""

    def __init__(self, **options: Any) -> None:
        self.options, self.calls = options, list[tuple[object, ...]]()
        self.mlflow_util = SimpleNamespace(
            experiment_id="7", _mlflow=SimpleNamespace(search_runs=self._search)
        )
        self._trial_runs: dict[LoggedTrial, str] = {}
        self.stored: list[Any] = []

    def _search(self, experiments: list[str], filter_string: str, output_format: str) -> list[Any]:
        assert (experiments, output_format) == (["7"], "list")
        assert filter_string == f"params.trial_id = '{small_trial().trial_id}'"
        return self.stored

    def log_trial_start(self, trial: LoggedTrial) -> None:
        self.calls.append(("start", str(trial)))

    def log_trial_result(self, iteration: int, trial: LoggedTrial, result: dict[str, Any]) -> None:
        self.calls.append(("result", result))

    def log_trial_end(self, trial: LoggedTrial, failed: bool) -> None:
        self.calls.append(("end", failed))


def test_mlflow_continues_the_run_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.air.integrations.mlflow.MLflowLoggerCallback", FakeCallback)
    section = {"mlflow": {"tracking_uri": "http://host", "tags": {"team": "a"}}}
    (logger,) = requested_loggers(small_sweep(logging=section), "/storage")
    callback: FakeCallback = logger._callback  # type: ignore[attr-defined]
    assert callback.options == {
        "experiment_name": "small",
        "tracking_uri": "http://host",
        "tags": {"sweep": "small", "team": "a"},
    }
    trial = LoggedTrial(small_sweep(), small_trial(), Path("logs"))
    assert logger.start(trial) == 0
    info, data = SimpleNamespace(run_id="r"), SimpleNamespace(metrics={"training_iteration": 2.0})
    callback.stored = [SimpleNamespace(info=info, data=data)]
    assert logger.start(trial) == 2
    assert callback._trial_runs == {trial: "r"}
    logger.end(trial, 2, failed=True)
    start = ("start", small_trial().name)
    assert callback.calls == [start, start, ("end", True)]


def test_wandb_gets_its_folder_and_marks_failures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ray.air.integrations.wandb.WandbLoggerCallback", FakeCallback)
    section = {"wandb": {"project": "p", "dir": str(tmp_path / "logs")}}
    (logger,) = requested_loggers(small_sweep(logging=section), "/storage")
    callback: FakeCallback = logger._callback  # type: ignore[attr-defined]
    folder = str(tmp_path / "logs")
    assert callback.options == {"project": "p", "resume": "allow", "dir": folder}
    trial = LoggedTrial(small_sweep(), small_trial(), logger.folder(small_trial()))
    assert logger.start(trial) == 0
    assert (tmp_path / "logs").is_dir()
    logger.end(trial, 1, failed=True)
    logger.end(trial, 3, failed=False)
    assert callback.calls == [
        ("start", small_trial().name),
        ("result", {"failed": 1, "training_iteration": 1}),
        ("end", True),
        ("end", False),
    ]


def test_what_is_not_installed_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "wandb", "a_package_that_there_is_not")
    with pytest.raises(InvalidConfigError) as refusal:
        Logging(wandb={"project": "p"}, tensorboard=True).refuse("s3://bucket")
    assert [issue.path for issue in refusal.value.issues] == [
        "logging.wandb",
        "logging.tensorboard",
    ]
    assert "pip install a_package_that_there_is_not" in str(refusal.value)
    Logging(tensorboard="logs").refuse("s3://bucket")
    Logging().refuse("s3://bucket")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of libraries about each other
def test_mlflow_and_wandb_have_a_run_per_trial_with_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of stages that another trial has trained, and of a trial that failed."""
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    document = {
        **SWEEP,
        "orders": {},
        "logging": {"mlflow": {"tracking_uri": uri}, "wandb": {"dir": str(tmp_path / "logs")}},
    }
    file, storage = write_sweep(tmp_path / "sweep.yaml", document), tmp_path / "storage"
    done = run_to_end(file, storage)
    assert "is given up" not in done.stdout
    store = StageStore(open_storage(str(storage)))
    trials = {trial.trial_id: trial for trial in expand(sweep_from_dict(document))}
    in_mlflow, in_wandb = mlflow_runs(mlflow, uri), wandb_runs(tmp_path / "logs" / "wandb")
    assert in_mlflow.keys() == in_wandb.keys() == trials.keys()
    for name, trial in trials.items():
        params, status, printed = in_mlflow[name]
        config, same = in_wandb[name]
        assert params["label"] == config["label"] == trial.label
        if trial.label == "too fast":
            assert status == "FAILED"
            assert same["failed"] == {0: 1}
            continue
        assert status == "FINISHED"
        for stages in range(1, len(trial.chain) + 1):
            for metric, value in metrics_so_far(store, trial, trial.chain[:stages]).items():
                assert printed[metric][stages] == pytest.approx(value)
                assert same[metric][stages] == pytest.approx(value)
        assert printed["training_iteration"] == {n: n for n in range(1, len(trial.chain) + 1)}
    again = run_to_end(file, storage, "--retry-failed")
    assert "is given up" not in again.stdout
    assert mlflow_runs(mlflow, uri).keys() == trials.keys()
