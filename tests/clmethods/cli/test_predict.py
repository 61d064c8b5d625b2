"""`clmethods predict` on a model directory and on an export, with image files of many kinds."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from clmethods.cli import main
from tests.clmethods.data.files import noise

NAMES = ("blue", "red", "rote Äpfel", "zoo")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def save(path: Path, seed: int, size: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(*size, 3, seed=seed)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("predict")
    for label, name in enumerate(NAMES):
        for index in range(8):
            save(root / "data" / name / f"{index}.png", 10 * label + index)
    return root


@pytest.fixture(scope="module", autouse=True)
def cache(folder: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLMETHODS_CACHE", str(folder / "cache"))
        yield


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    run = {
        "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
        "stream": {"dataset": "image-folder", "root": str(folder / "data"), "tasks": 2},
        "method": {"kind": "lorac_ipc", "rank": 2},
        "train": {"epochs": 1},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    result = call("train", folder / "run.yaml", "-o", folder / "model")
    assert result.exit_code == 0, result.output
    return folder / "model"


@pytest.fixture(scope="module")
def export(model: Path, folder: Path) -> Path:
    assert call("export", model, "-o", folder / "out").exit_code == 0
    return folder / "out"


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_is_predicted_as_its_files_are(model: Path, folder: Path, tmp_path: Path) -> None:
    result = call("predict", model, folder / "data", "-o", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "readout instance-cosine (average test accuracy" in result.stderr
    assert "other readouts: last (average test accuracy" in result.stderr
    assert f"32 of 32 images predicted, written to {tmp_path / 'a.csv'}" in result.stderr
    rows = rows_of(tmp_path / "a.csv")
    files = [str(p) for p in sorted((folder / "data").rglob("*.png"))]
    assert [row["image"] for row in rows] == files
    assert {row["class_name"] for row in rows} <= set(NAMES)
    printed = call("predict", model, *files, "--batch-size", 5)
    assert printed.stdout == (tmp_path / "a.csv").read_text(encoding="utf-8")


def test_an_export_predicts_without_its_data(
    export: Path, model: Path, folder: Path, tmp_path: Path
) -> None:
    ours = call("predict", model, folder / "data", "--readout", "last", "--top", 4)
    data = (folder / "data").rename(folder / "moved")
    try:
        theirs = call("predict", export, folder / "moved", "--top", 4)
    finally:
        data.rename(folder / "data")
    assert theirs.exit_code == 0, theirs.output
    left, right = (list(csv.reader(r.stdout.splitlines())) for r in (ours, theirs))
    assert len(left) == len(right) == 1 + 4 * 32
    for mine, other in zip(left[1:], right[1:], strict=True):
        assert Path(mine[0]).name == Path(other[0]).name
        assert mine[1:4] == other[1:4]
        assert float(mine[4]) == pytest.approx(float(other[4]), abs=2e-5)
        assert mine[5:] == other[5:]


def test_unreadable_files_are_named_and_the_others_predicted(model: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for name in ("a.png", "sub/b.bmp", "=1+1.png", ".hidden.png"):
        save(images / name, 1)
    picture = Image.open(images / "a.png")
    picture.convert("CMYK").save(images / "cmyk.jpg")
    picture.convert("P").save(images / "palette.gif")
    picture.convert("RGBA").save(images / "alpha.webp")
    picture.convert("L").save(images / "gray.png")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(images / "deep.png")
    (images / "broken.jpg").write_bytes(b"no image")
    (images / "photo.heic").write_bytes(b"0" * 40)
    half = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(half[: len(half) // 2])
    (images / "notes.txt").write_text("no image", encoding="utf-8")
    (images / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(images / "pipe")
    result = call("predict", model, images, "missing.png", "-o", tmp_path / "a.json")
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [Path(row["image"]).name for row in document["predictions"]] == [
        *("=1+1.png", "a.png", "alpha.webp", "cmyk.jpg", "gray.png", "palette.gif", "b.bmp")
    ]
    unread = {Path(row["image"]).name: row["reason"] for row in document["unreadable"]}
    assert set(unread) == {
        *("broken.jpg", "cut.png", "deep.png", "gone.png", "missing.png", "photo.heic")
    }
    assert "8 bits per channel" in unread["deep.png"]
    assert unread["photo.heic"].startswith(".heic files are not read; convert")
    assert unread["missing.png"] == "the file does not exist"
    for name, reason in unread.items():
        assert f"{name}: {reason}" in result.stderr
    assert "7 of 13 images predicted" in result.stderr


def test_file_names_are_no_formulas(model: Path, tmp_path: Path, monkeypatch: object) -> None:
    save(tmp_path / "=1+1.png", 1)
    code = "import sys; from clmethods.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", str(model), "=1+1.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[1].startswith("'=1+1.png,1,")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--readout", "oracle"], "readout: got 'oracle', allowed: one of ['last', "),
        (["--device", "cuda"], "device: got 'cuda', allowed: cpu or auto. torch finds no GPU"),
        (["-o", "/dev/null/a.csv"], "--output: got '/dev/null/a.csv', allowed: a file that"),
    ],
)
def test_arguments_are_refused(arguments: list[str], part: str, model: Path, folder: Path) -> None:
    result = call("predict", model, folder / "data" / "zoo" / "1.png", *arguments)
    assert result.exit_code == 2, result.output
    assert part in result.stderr
    assert "Traceback" not in result.output


def test_models_and_folders_are_refused(model: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    nothing = call("predict", model, tmp_path / "empty")
    assert nothing.exit_code == 2
    assert "allowed: image files, or folders that contain image files" in nothing.stderr
    none = call("predict", tmp_path, folder / "data")
    assert none.exit_code == 2
    assert "is not a model directory" in none.stderr


def test_the_code_of_the_card_runs(export: Path, folder: Path) -> None:
    card = (export / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    Image.open(folder / "data" / "zoo" / "1.png").save(export / "photo.jpg")
    try:
        (own,) = (block for block in blocks if "clmethods" in block)
        done = subprocess.run(
            [sys.executable, "-c", own], cwd=export, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("photo.jpg ")
        assert any(name in done.stdout for name in NAMES)
        for block in blocks:
            if block != own:
                subprocess.run([sys.executable, "-c", block], cwd=export, check=True)
    finally:
        (export / "photo.jpg").unlink()
