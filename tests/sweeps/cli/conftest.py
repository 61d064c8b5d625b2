"""A small finished sweep on a storage, made without Ray: the commands that read need no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sweeps.cli import main
from sweeps.definition import sweep_from_dict
from sweeps.storage import open_storage
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
