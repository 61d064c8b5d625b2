"""A small finished sweep on a storage, made without Ray: the commands that read need no more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sweeps.cli import main
from sweeps.definition import TrialSpec, sweep_from_dict
from sweeps.storage import open_storage
from tests.sweeps.cli.fabricated import fabricate
from tests.sweeps.run_files import finish

DOCUMENT = {
    "name": "small",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 5, "limit": 6},
    "method": {"kind": "lorac_ipc", "rank": 2, "lora_alpha": 2},
    "train": {"epochs": 1, "batch_size": 16},
    "search": {"method.importance_threshold": [0, 0.2]},
    "orders": {"design": "explicit", "list": [[0, 1, 2, 3, 4], [0, 1, 4, 3, 2]]},
    "seeds": [0, 1],
    "readouts": [
        {"routing": "last"},
        {"routing": "batch", "batch_size": 4, "tap": True, "tap_epochs": 1},
    ],
    "baselines": [
        {"method": {"kind": "nearest_class_mean"}},
        {"method": {"kind": "joint_lora", "rank": 2, "lora_alpha": 2}},
    ],
}


ANSWERS = {
    "name": "answers",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 5},
    "method": {"kind": "lorac_ipc", "rank": 2, "lora_alpha": 2},
    "search": {"method.importance_threshold": [0, 0.1, 0.2]},
    "orders": {"design": "explicit", "list": [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 2, 4, 1, 3]]},
    "seeds": [0, 1, 2],
    "readouts": [{"routing": "last"}, {"routing": "oracle"}],
    "baselines": [
        {"method": {"kind": "nearest_class_mean"}},
        {"method": {"kind": "joint_lora", "rank": 2, "lora_alpha": 2}},
    ],
}


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with made-up counts, in which a baseline is better than all that is searched.

    Tests must not change it.
    """
    folder = tmp_path_factory.mktemp("answers")

    def accuracy(trial: TrialSpec) -> float:
        base = 0.9 if trial.run.method.kind == "nearest_class_mean" else 0.6255
        threshold = float(str(trial.factors.get("method.importance_threshold", 0.0)))
        sign = 1 if trial.order_id == "0-1-2-3-4" else -1
        return base + sign * threshold / 20 + 0.007 * trial.seed

    fabricate(folder, ANSWERS, accuracy)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage; tests must not change it."""
    storage = tmp_path_factory.mktemp("finished")
    objects = open_storage(str(storage))
    finish(sweep_from_dict(DOCUMENT), objects)
    return storage


@pytest.fixture
def sweeps_command() -> Callable[..., Result]:
    """Runs `sweeps ARGUMENTS` in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small sweep with some keys replaced, by dotted path."""

    def write(**replaced: object) -> Path:
        document = yaml.safe_load(yaml.safe_dump(DOCUMENT))
        for path, value in replaced.items():
            *sections, name = path.split("__")
            target = document
            for section in sections:
                target = target.setdefault(section, {})
            target[name] = value
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished storage with a file of every kind; tests must not change it."""
    from tests.sweeps.cli.damages import finished_storage

    root = tmp_path_factory.mktemp("damaged") / "whole"
    finished_storage(root)
    return root


@pytest.fixture(scope="session")
def undamaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The output of each command for that storage as it was written."""
    from tests.sweeps.cli.reading_commands import COMMANDS, outputs, stable

    folder = tmp_path_factory.mktemp("undamaged")
    at = Path(shutil.copytree(whole, folder / "storage"))
    results = outputs(at, folder / "out", COMMANDS)
    codes = {name: result.exit_code for name, result in results.items()}
    assert codes == dict.fromkeys(COMMANDS, 0)
    return {name: stable(result.output, at, folder / "out") for name, result in results.items()}


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` waits for a beat of each driver, here of one that has stopped."""
    from sweeps.planning import lease_readings

    monkeypatch.setattr(lease_readings, "LATENCY_S", 0.01)
