"""`clmethods train` on a team's own pictures: from a manifest to a result, or to one message."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from clmethods.archive import ModelArchive
from clmethods.cli import main
from tests.clmethods.data.files import noise, write_folder, write_png

RUN = {
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "method": {"kind": "lora_sequential", "rank": 2},
    "train": {"epochs": 1, "batch_size": 4},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))


def trained(folder: Path, stream: dict[str, object], **train: object) -> Result:
    file = folder / "run.yaml"
    run = RUN | {"stream": stream, "train": {"epochs": 1, "batch_size": 4} | train}
    file.write_text(yaml.safe_dump(run), encoding="utf-8")
    return CliRunner().invoke(main, ["train", str(file), "--json"])


def manifest(folder: Path) -> Path:
    rows = ["path,label,task,split,group"]
    for label, name in enumerate(("ant", "bee", "cow", "dog")):
        for index in range(8):
            write_png(folder / name / f"{index}.png", noise(9, 12, 3, seed=10 * label + index))
            split = "test" if index >= 6 else "validation" if index == 5 else "train"
            rows.append(f"{name}/{index}.png,{name},{'zoo' if label > 1 else 'home'},{split},")
    (folder / "tasks.csv").write_text("\n".join(rows))
    return folder / "tasks.csv"


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_a_manifest_is_trained_task_by_task(tmp_path: Path, augment: str) -> None:
    stream: dict[str, object] = {"dataset": "manifest", "manifest": str(manifest(tmp_path))}
    once, again = (trained(tmp_path, stream, augment=augment) for _ in range(2))
    assert once.exit_code == 0, once.output
    assert once.output == again.output
    matrix = json.loads(once.output)["last"]["accuracy"]
    assert [sum(a is not None for a in row) for row in matrix] == [1, 2]


def test_a_folder_is_trained_like_any_dataset(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 4, 10)
    result = trained(tmp_path, {"dataset": "image-folder", "root": str(tmp_path / "x")})
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.output)["last"]["accuracy"]) == 2


def test_a_corrupt_picture_is_named_and_nothing_is_trained(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 4, 10)
    (tmp_path / "x" / "class03" / "07.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    result = trained(tmp_path, {"dataset": "image-folder", "root": str(tmp_path / "x")})
    assert result.exit_code == 2
    assert "1 of 10 images of class 'class03' cannot be read" in result.output
    assert "class03/07.png" in result.output
    assert "Traceback" not in result.output


def test_all_issues_of_a_manifest_are_reported_at_once(tmp_path: Path) -> None:
    file = manifest(tmp_path)
    text = (
        file.read_text().replace("ant/3.png", "ant/33.png").replace("dog,zoo,test", "dog,zoo,tset")
    )
    file.write_text(text)
    result = trained(tmp_path, {"dataset": "manifest", "manifest": str(file)})
    assert result.exit_code == 2
    assert "manifest row 5, path: got 'ant/33.png'" in result.output
    assert "manifest row 32, split: got 'tset'" in result.output
    assert "manifest row 33, split: got 'tset'" in result.output


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_a_finished_model_learns_the_pictures_of_a_folder_or_a_manifest(
    tmp_path: Path, kind: str
) -> None:
    """The day on which a team's new data arrives. It may lie elsewhere, or be gone, later."""
    run = RUN | {"stream": {"dataset": "digits", "tasks": 2, "limit": 4}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    done = CliRunner().invoke(main, ["train", str(tmp_path / "run.yaml"), "-o", old])
    assert done.exit_code == 0, done.output
    (tmp_path / "data").mkdir()
    task = manifest(tmp_path / "data")
    if kind == "folder":
        task.unlink()
        task = tmp_path / "data"
    result = CliRunner().invoke(main, ["extend", old, "--task", str(task), "-o", new])
    assert result.exit_code == 0, result.output
    assert "has the new classes 10 to 13" in result.output
    shutil.rmtree(tmp_path / "data")
    archive = ModelArchive.open(Path(new))
    assert [len(stage.classes) for stage in archive.chain] == [5, 5, 4]
