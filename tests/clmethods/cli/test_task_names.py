"""Names of classes and tasks in the output of the commands, from folders to extended exports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

import clmethods
from clmethods.archive import ModelArchive
from clmethods.cli import main
from tests.clmethods.data.files import noise


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_classes(root: Path, names: tuple[str, ...], seed: int) -> Path:
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(8):
            picture = noise(20, 30, 3, seed=seed + 10 * label + index) // 2 + 30 * (label + 1)
            Image.fromarray(picture.astype(np.uint8)).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLMETHODS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of four classes, which was extended twice, and its export."""
    root = tmp_path_factory.mktemp("names")
    data = write_classes(root / "first", ("bolt", "nut", "pin", "ring"), 0)
    stream = {"dataset": "image-folder", "root": str(data), "tasks": 2, "task_order": [1, 0]}
    run = {
        "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
        "stream": stream,
        "method": {"kind": "lorac_ipc", "rank": 2},
        "train": {"epochs": 1},
    }
    (root / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    write_classes(root / "week 2", ("cam", "pin"), 300)
    trained = call("train", root / "run.yaml", "-o", root / "m1")
    (root / "train.txt").write_text(trained.stderr + trained.stdout, encoding="utf-8")
    for number, task in ((2, root / "week 2"), (3, "glyph100:3,8")):
        done = call("extend", root / f"m{number - 1}", "--task", task, "-o", root / f"m{number}")
        assert done.exit_code == 0, done.output
        (root / f"extend{number}.txt").write_text(done.output, encoding="utf-8")
    exported = call("export", root / "m3", "-o", root / "out")
    assert exported.exit_code == 0, exported.output
    return root


NAMES = ["bolt", "nut", "pin", "ring", "cam", "pin (task 2)", "glyph100:3", "glyph100:8"]


def test_every_class_has_one_name_after_two_extensions(folder: Path) -> None:
    stream = ModelArchive.open(folder / "m3").run.stream
    assert stream.names_of(range(8)) == NAMES
    assert clmethods.load(folder / "m3").class_names == tuple(NAMES)
    assert clmethods.load(folder / "out").class_names == tuple(NAMES)
    config = json.loads((folder / "out" / "timm" / "config.json").read_text(encoding="utf-8"))
    assert config["label_names"] == NAMES


def test_train_counts_stages_and_names_tasks(folder: Path) -> None:
    text = (folder / "train.txt").read_text(encoding="utf-8")
    assert "stage 1 of 2, task 1: trained" in text
    assert "stage 2 of 2, task 0: trained" in text
    assert "task 1: pin, ring" in text
    assert "task 0: bolt, nut" in text


def test_extend_names_the_new_classes(folder: Path) -> None:
    second = (folder / "extend2.txt").read_text(encoding="utf-8")
    assert "task 2 week 2 has the new classes 4 to 5, classes [0, 1] of image-folder: " in second
    assert "cam, pin (task 2)" in second
    third = (folder / "extend3.txt").read_text(encoding="utf-8")
    assert "task 3 glyph100 has the new classes 6 to 7" in third
    assert "glyph100:3, glyph100:8" in third


@pytest.mark.parametrize("name", ["m3", "out"])
def test_evaluate_shows_the_names(name: str, folder: Path) -> None:
    text = call("evaluate", folder / name).output
    assert "task 2 week 2" in text
    for line in (
        "task 1: pin, ring",
        "task 2 (week 2): cam, pin (task 2)",
        "task 3 (glyph100): glyph100:3, glyph100:8",
    ):
        assert line in text, text


def test_an_export_counts_tasks_as_its_model_does(folder: Path) -> None:
    rows = json.loads(call("evaluate", folder / "out", "--json").stdout)["test"]
    assert [row["task"] for row in rows] == [1, 0, 2, 3]
    assert [row["title"] for row in rows] == [
        "task 1",
        "task 0",
        "task 2 week 2",
        "task 3 glyph100",
    ]


def test_the_card_shows_the_names(folder: Path) -> None:
    card = (folder / "out" / "README.md").read_text(encoding="utf-8")
    assert "| task 2 week 2 | 4, 5 | cam, pin (task 2) |" in card
    assert "| after | task 1 | task 0 | task 2 week 2 | task 3 glyph100 |" in card
    assert "| task 0 | 0, 1 | bolt, nut |" in card
    assert "The classes of task 2, which was added later, are classes [0, 1]" in card


def test_extend_again_continues_the_same_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "m2", tmp_path / "m2")
    again = call("extend", folder / "m1", "--task", folder / "week 2", "-o", tmp_path / "m2")
    assert again.exit_code == 0, again.output
    other = call("extend", folder / "m1", "--task", "glyph100:3", "-o", tmp_path / "m2")
    assert other.exit_code == 2
    assert "added[0].dataset: 'image-folder' stored, 'glyph100' requested" in other.output
    assert "added[0].classes: [0, 1] stored, [3] requested" in other.output


def test_an_old_task_that_falls_is_a_warning(folder: Path, tmp_path: Path) -> None:
    """Sequential training without any protection forgets the old tasks."""
    run = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    run["method"] = {"kind": "sequential_finetuning", "head_loss": "global"}
    run["train"] = {"epochs": 20, "lr": 0.01}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    trained = call("train", tmp_path / "run.yaml", "-o", tmp_path / "m", "--json")
    (before,) = json.loads(trained.stdout).values()
    grown = call("extend", tmp_path / "m", "--task", folder / "week 2", "-o", tmp_path / "n")
    assert grown.exit_code == 0, grown.output
    after = ModelArchive.open(tmp_path / "n").metrics().splits["test"]["last"]["accuracy"][-1]
    fallen = [
        f"{title} from {100 * was:.1f} to {100 * now:.1f} %"
        for title, was, now in zip(
            ("task 1", "task 0"), before["accuracy"][-1], after[:2], strict=True
        )
        if was - now > 0.05
    ]
    assert fallen
    expected = "warning: with the readout last, the test accuracy of old tasks fell: "
    assert f"{expected}{', '.join(fallen)}." in grown.stderr


def test_no_warning_without_a_drop(folder: Path, tmp_path: Path) -> None:
    run = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump(run | {"method": {"kind": "nearest_class_mean"}}), encoding="utf-8"
    )
    call("train", tmp_path / "run.yaml", "-o", tmp_path / "m")
    before = ModelArchive.open(tmp_path / "m").metrics().splits["test"]["last"]["accuracy"][-1]
    grown = call("extend", tmp_path / "m", "--task", folder / "week 2", "-o", tmp_path / "n")
    after = ModelArchive.open(tmp_path / "n").metrics().splits["test"]["last"]["accuracy"][-1]
    fell = any(was - now > 0.05 for was, now in zip(before, after[:2], strict=True))
    assert ("the test accuracy of old tasks fell" in grown.output) == fell
