"""What loggers are told, and that one that fails is only a sentence."""

from __future__ import annotations

import json
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.logger import TBXLoggerCallback
from tensorboardX.proto.event_pb2 import Event

from clmethods.config import InvalidConfigError
from sweeps.spec import TrialSpec, expand, sweep_from_dict
from sweeps.spec.logging import PACKAGES, Logging
from sweeps.stages.figures import figures_so_far
from sweeps.stages.store import StageStore
from sweeps.storage import open_storage
from sweeps.tune.loggers import Guarded
from tests.sweeps.stages.small import small_sweep, small_trial
from tests.sweeps.tune.conftest import SWEEP, Ran
from tests.sweeps.tune.drivers import run_to_end, write_sweep

Scalars = dict[str, dict[int, float]]


def scalars(folder: Path) -> Scalars:
    """By tag and step, from all event files of a folder; TensorBoard reads them together, too."""
    found: Scalars = defaultdict(dict)
    for file in sorted(folder.glob("events.out.tfevents.*")):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found[value.tag][event.step] = value.simple_value
            data = data[16 + length :]
    return found


def test_tensorboard_has_a_run_per_trial_with_the_figures_of_the_tables(ran: Ran) -> None:
    folder = ran.storage / "sweeps" / "small" / "tensorboard"
    store = StageStore(open_storage(str(ran.storage)))
    sound = [trial for trial in expand(ran.sweep) if trial.label != "too fast"]
    assert {path.name for path in folder.iterdir()} == {trial.trial_id for trial in sound}
    for trial in sound:
        told, last = scalars(folder / trial.trial_id), len(trial.chain)
        for name, value in figures_so_far(store, trial, trial.chain).items():
            assert told[f"ray/tune/{name}"][last] == pytest.approx(value, abs=1e-6)
        assert "ray/tune/stage_seconds" in told


def guarded(folder: Path, trial: TrialSpec) -> tuple[Guarded, list[str]]:
    said: list[str] = []
    trials = {trial.trial_id: trial}
    logger = Guarded(
        "tensorboard", TBXLoggerCallback(), small_sweep(), trials, folder, said.append
    )
    return logger, said


def step(position: int, outcome: str = "trained") -> dict[str, Any]:
    figures = {"average_accuracy": position / 10}
    return {"outcome": outcome, "position": position, "figures": figures, "seconds": 1.0}


def tunes(trial: TrialSpec) -> Any:
    """As much of Tune's own trial as a callback reads."""
    config = {"message": {"trial_id": trial.trial_id}}
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
    told = scalars(folder)["ray/tune/average_accuracy"]
    assert told == {n: pytest.approx(n / 10) for n in (1, 2, 3)}


def test_a_logger_that_fails_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    logger, said = guarded(tmp_path / "taken", small_trial())
    for position in (1, 2):
        logger.on_trial_result(0, [], tunes(small_trial()), step(position))
    logger.on_trial_complete(0, [], tunes(small_trial()))
    (sentence,) = said
    assert sentence.startswith("logging to tensorboard is given up, the sweep goes on: ")


def test_what_is_not_installed_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "wandb", "a_package_that_there_is_not")
    with pytest.raises(InvalidConfigError) as refusal:
        Logging(wandb={"project": "p"}, tensorboard=True).refuse("s3://bucket")
    assert [fault.path for fault in refusal.value.faults] == [
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
        params, status, told = in_mlflow[name]
        config, same = in_wandb[name]
        assert params["label"] == config["label"] == trial.label
        if trial.label == "too fast":
            assert status == "FAILED"
            assert same["failed"] == {0: 1}
            continue
        assert status == "FINISHED"
        for stages in range(1, len(trial.chain) + 1):
            for metric, value in figures_so_far(store, trial, trial.chain[:stages]).items():
                assert told[metric][stages] == pytest.approx(value)
                assert same[metric][stages] == pytest.approx(value)
        assert told["training_iteration"] == {n: n for n in range(1, len(trial.chain) + 1)}
    again = run_to_end(file, storage, "--retry-failed")
    assert "is given up" not in again.stdout
    assert mlflow_runs(mlflow, uri).keys() == trials.keys()


def mlflow_runs(mlflow: Any, uri: str) -> dict[str, tuple[dict[str, str], str, Scalars]]:
    """By trial id: parameters, status, and the history of every metric; each trial once."""
    client = mlflow.MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "small"]
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        history: Scalars = {
            name: {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
            for name in run.data.metrics
        }
        assert run.data.params["trial_id"] not in found
        found[run.data.params["trial_id"]] = (run.data.params, run.info.status, history)
    return found


def wandb_runs(folder: Path) -> dict[str, tuple[dict[str, Any], Scalars]]:
    """By trial id: configuration and history, from the files that `wandb sync` would send."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, tuple[dict[str, Any], Scalars]] = {}
    for file in sorted(folder.glob("offline-run-*/run-*.wandb")):
        config: dict[str, Any] = {}
        history: Scalars = defaultdict(dict)
        for record in map(Record.FromString, _leveldb_records(file.read_bytes())):
            for item in [*record.run.config.update, *record.config.update]:
                config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
            for item in record.history.item:
                name = item.key or ".".join(item.nested_key)
                history[name][record.history.step.num] = json.loads(item.value_json)
        found[config["trial_id"]] = config, history
    return found


def _leveldb_records(data: bytes) -> Iterator[bytes]:
    """Records of LevelDB's log format, after the seven bytes with which W&B's file begins."""
    place, whole, block = 7, b"", 32768
    while place < len(data):
        if block - place % block < 7:  # no room for the head of a record
            place += block - place % block
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in {1, 4}:  # whole, or the last part
            yield whole
            whole = b""
