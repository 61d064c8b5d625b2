"""What TensorBoard is told, and that a logger that fails is only a sentence."""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.logger import TBXLoggerCallback
from tensorboardX.proto.event_pb2 import Event

from clmethods.config import InvalidConfigError
from sweeps.spec import TrialSpec, expand
from sweeps.spec.logging import PACKAGES, Logging
from sweeps.stages.figures import figures_so_far
from sweeps.stages.store import StageStore
from sweeps.storage import open_storage
from sweeps.tune.loggers import Guarded
from tests.sweeps.stages.small import small_sweep, small_trial
from tests.sweeps.tune.conftest import Ran

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
        for name, value in figures_so_far(store, trial, last).items():
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
