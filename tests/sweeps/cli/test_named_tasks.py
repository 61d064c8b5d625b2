"""Names of tasks and classes in the output of commands that show task orders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from sweeps.cli.text.task_lines import task_lines
from sweeps.definition import sweep_from_dict
from sweeps.storage import open_storage
from tests.clmethods.data.files import noise
from tests.sweeps.run_files import finish

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep on a folder of images with names."""
    root = tmp_path_factory.mktemp("named")
    for label, name in enumerate(("bolt", "nut", "pin", "ring")):
        (root / "data" / name).mkdir(parents=True)
        for index in range(8):
            picture = noise(12, 18, 3, seed=10 * label + index) // 2 + 30 * label
            image = Image.fromarray(picture.astype(np.uint8))
            image.save(root / "data" / name / f"{index}.png")
    document = {
        "name": "named",
        "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
        "stream": {"dataset": "image-folder", "root": str(root / "data"), "tasks": 2},
        "method": {"kind": "nearest_class_mean"},
        "train": {"epochs": 1},
        "search": {"method.metric": ["cosine", "euclid"]},
        "orders": {"design": "all"},
        "seeds": [0],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLMETHODS_CACHE", str(root / "cache"))
        objects = open_storage(str(root / "runs"))
        finish(sweep_from_dict(document), objects)
    return root / "runs"


@pytest.mark.parametrize("command", ["orders", "status", "select"])
def test_tasks_have_their_names(command: str, storage: Path, sweeps_command: Command) -> None:
    result = sweeps_command(command, storage)
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines()]
    assert "task 0: bolt, nut" in lines
    assert "task 1: pin, ring" in lines


def test_a_data_set_without_names_adds_no_lines(finished: Path, sweeps_command: Command) -> None:
    for command in ("orders", "status", "select"):
        assert "task 0:" not in sweeps_command(command, finished).output


def test_positions_are_stages_and_tasks_are_indices(
    finished: Path, sweeps_command: Command
) -> None:
    text = sweeps_command("orders", finished).output
    assert "tasks are counted from 0, as in orders; stages, the steps of a run, from 1" in text


def test_many_tasks_are_counted(tmp_path: Path) -> None:
    for index in range(30):
        folder = tmp_path / f"class{index:02d}"
        folder.mkdir()
        for number in range(3):
            image = Image.fromarray(noise(6, 6, 3, seed=3 * index + number))
            image.save(folder / f"{number}.png")
    stream = {"dataset": "image-folder", "root": str(tmp_path), "tasks": 30}
    sweep = sweep_from_dict(
        {
            "name": "many",
            "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
            "stream": stream,
            "orders": {"design": "random", "count": 1},
        }
    )
    assert len(task_lines(sweep)) == 30
    assert task_lines(sweep, 20)[-1] == "and 10 more tasks"
