"""`clmethods data`: what the images are, before a run costs anything."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from clmethods.cli import main
from clmethods.data.contact_sheet import LABEL, SheetRow, write_contact_sheet
from clmethods.export import ExportedModel
from sweeps.cli import main as sweeps_main
from tests.clmethods.data.files import noise, write_png


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))


def smooth(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    """Return an image without fine detail, as photographs are."""
    small = Image.fromarray(noise(5, 6, 3, seed=seed))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def write(root: Path) -> None:
    """Four classes of 12 training and 3 test images; two of them are similar."""
    for label, name in enumerate(("cat", "dog", "emu", "fox")):
        for side, each in (("train", 12), ("test", 3)):
            for index in range(each):
                seed = 1000 * label + 100 * (side == "test") + index
                write_png(root / side / name / f"{index}.png", smooth(seed))
    write_png(root / "train" / "emu" / "0.png", smooth(2000, 240, 320))
    similar = Image.fromarray(smooth(1005)).resize((45, 30)).point(lambda value: value * 0.98)
    similar.save(root / "test" / "fox" / "2.png")
    (root / "train" / ".thumbnails").mkdir()
    for name in ("notes.txt", ".DS_Store"):
        (root / "train" / "dog" / name).write_text("x")


def run_file(tmp_path: Path, **stream: Any) -> Path:
    document = {
        "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 16},
        "stream": {"dataset": "image-folder", "root": str(tmp_path / "x"), **stream},
        "method": {"kind": "nearest_class_mean"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return tmp_path / "run.yaml"


def shown(tmp_path: Path, *options: str, **stream: Any) -> Result:
    return CliRunner().invoke(main, ["data", str(run_file(tmp_path, **stream)), *options])


LINE = (
    "data: 4 classes, 40 training, 8 validation, 12 test images, "
    "320\N{MULTIPLICATION SIGN}240 to 45\N{MULTIPLICATION SIGN}30, RGB; "
    "ignored: 1 folder, 2 files"
)


def test_classes_counts_sizes_and_ignored_files_are_shown(tmp_path: Path) -> None:
    write(tmp_path / "x")
    result = shown(tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == LINE
    table = [line.split() for line in result.output.splitlines()]
    assert ["0", "cat", "0", "10", "2", "3"] in table
    assert ["1", "fox", "3", "10", "2", "3"] in table
    assert "formats: 60 PNG" in result.output
    assert "  train/.thumbnails/" in result.output


def test_similar_images_across_splits_are_found(tmp_path: Path) -> None:
    write(tmp_path / "x")
    found = json.loads(shown(tmp_path, "--json", validation_fraction=0.0).output)["duplicates"]
    pairs = {
        (d["kind"], d["split"], "/".join(Path(d["image"]).parts[-2:]), d["training_class"])
        for d in found
    }
    assert pairs == {("similar", "test", "fox/2.png", "dog")}


def test_equal_images_in_splits_of_split_seed_are_found_and_counted(tmp_path: Path) -> None:
    """Each image occurs twice, so that some test images are among the training images."""
    for label, name in enumerate(("cat", "dog")):
        for index in range(12):
            picture = smooth(1000 * label + index // 2)
            write_png(tmp_path / "x" / name / f"{index:02d}.png", picture)
    result = json.loads(shown(tmp_path, "--json", validation_fraction=0.0).output)
    assert {d["kind"] for d in result["duplicates"]} == {"equal"}
    assert "12 images occur twice" in shown(tmp_path).output.splitlines()[0]
    shutil.copy(tmp_path / "x" / "cat" / "00.png", tmp_path / "x" / "cat" / "99.png")
    assert "12 images occur more than once" in shown(tmp_path).output.splitlines()[0]


def test_images_that_occur_in_two_classes_or_once_are_not_counted(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for index in range(6):
            write_png(tmp_path / "x" / name / f"{index}.png", smooth(index))
    assert "occur" not in shown(tmp_path).output.splitlines()[0]


def test_flat_images_of_other_colors_are_not_similar(tmp_path: Path) -> None:
    for label in range(2):
        for index in range(6):
            color = np.full((8, 8, 3), 100 * label + 15 * index, np.uint8)
            write_png(tmp_path / "x" / f"class{label}" / f"{index}.png", color)
    assert json.loads(shown(tmp_path, "--json").output)["duplicates"] == []


def test_counts_follow_the_tasks_of_a_manifest_and_the_limit(tmp_path: Path) -> None:
    write(tmp_path / "x")
    with (tmp_path / "x" / "my.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "task", "split"])
        for path in sorted((tmp_path / "x").rglob("*.png")):
            side, name = path.parts[-3], path.parts[-2]
            task = "zoo" if name in {"emu", "fox"} else "home"
            rows.writerow([path.relative_to(tmp_path / "x").as_posix(), name, task, side])
    stream = {"dataset": "manifest", "manifest": str(tmp_path / "x" / "my.csv"), "limit": 2}
    result = shown(tmp_path, root=None, **stream)
    assert result.exit_code == 0, result.output
    table = [line.split() for line in result.output.splitlines()]
    assert ["zoo", "emu", "2", "2", "2", "2"] in table
    assert ["home", "dog", "1", "2", "2", "2"] in table


def test_a_contact_sheet_shows_the_images_of_every_class(tmp_path: Path) -> None:
    colors = {"blue": (0, 0, 250), "red": (250, 0, 0)}
    for name, color in colors.items():
        for index in range(6):
            picture = np.full((30, 30, 3), color, np.uint8)
            picture[0, 0] = index
            write_png(tmp_path / "x" / name / f"{index}.png", picture)
    png, page = tmp_path / "sheets" / "out.png", tmp_path / "sheets" / "out.html"
    for path in (png, page):
        result = shown(tmp_path, "--contact-sheet", str(path), validation_fraction=0.0)
        assert result.exit_code == 0, result.output
    with Image.open(png) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    middle = len(pixels) // 2
    assert (pixels[:middle] == colors["blue"]).all(axis=2).sum() > 6 * 4000
    assert (pixels[middle:] == colors["red"]).all(axis=2).sum() > 6 * 4000
    text = page.read_text(encoding="utf-8")
    assert "<th>0: blue</th>" in text
    images = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert len(images) == 12
    assert base64.b64decode(images[0]).startswith(b"\x89PNG")


def title_of(tmp_path: Path, name: str) -> bytes:
    """Return the pixels of the class name in a contact sheet."""
    rows = [SheetRow(name, {"training": [np.zeros((4, 4), np.uint8)]})]
    write_contact_sheet(tmp_path / "title.png", rows)
    with Image.open(tmp_path / "title.png") as sheet:
        return sheet.crop((0, 0, LABEL, sheet.height)).tobytes()


def test_letters_with_marks_are_drawn_in_a_contact_sheet(tmp_path: Path) -> None:
    distinct = [title_of(tmp_path, letter) for letter in "aäáoöuüßséèñÅA?"]
    assert len(set(distinct)) == len(distinct)
    assert title_of(tmp_path, "a\u0308") == title_of(tmp_path, "ä")
    assert title_of(tmp_path, "Ž") == title_of(tmp_path, "Z")
    assert title_of(tmp_path, "鬼") == title_of(tmp_path, "?")


@pytest.mark.parametrize(
    ("options", "stream", "message"),
    [
        (("--contact-sheet", "x.gif"), {}, "--contact-sheet: got 'x.gif', allowed: a file ending"),
        ((), {"dataset": "digits", "root": None}, "stream.dataset: got 'digits', allowed: the"),
        ((), {"root": "/nowhere"}, "an existing folder with one folder of images per class"),
    ],
)
def test_other_requests_are_refused(
    options: tuple[str, ...], stream: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "x")
    result = shown(tmp_path, *options, **stream)
    assert result.exit_code == 2
    assert message in result.output


def test_training_says_what_the_data_is(tmp_path: Path) -> None:
    write(tmp_path / "x")
    file = str(run_file(tmp_path))
    result = CliRunner().invoke(main, ["train", file])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == f"{LINE} (list: --verbose)"
    assert "data:" not in result.stdout
    listed = CliRunner().invoke(main, ["train", file, "--verbose"])
    assert "  ignored: train/dog/notes.txt" in listed.stderr


def test_the_plan_of_a_sweep_says_what_the_data_is(tmp_path: Path) -> None:
    write(tmp_path / "x")
    file = run_file(tmp_path)
    file.write_text(f"name: mine\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    command = ["plan", str(file), "--storage", str(tmp_path / "storage")]
    result = CliRunner().invoke(sweeps_main, command)
    assert result.exit_code == 0, result.output
    assert f"{LINE} (list: --verbose)" in result.output.splitlines()
    assert "  task 0: cat, dog\n  task 1: emu, fox\n" in result.output
    listed = CliRunner().invoke(sweeps_main, [*command, "--verbose"])
    assert "  ignored: train/.thumbnails/" in listed.output.splitlines()


def test_names_of_classes_reach_tables_exports_and_the_model_card(tmp_path: Path) -> None:
    """The images may be gone later: the names come from the model directory."""
    write(tmp_path / "x")
    model, out = str(tmp_path / "model"), tmp_path / "out"
    trained = CliRunner().invoke(main, ["train", str(run_file(tmp_path)), "-o", model])
    assert trained.exit_code == 0, trained.output
    assert "  task 0: cat, dog\n  task 1: emu, fox\n" in trained.stdout
    evaluated = CliRunner().invoke(main, ["evaluate", model])
    assert "  task 1: emu, fox" in evaluated.stdout.splitlines()
    run = json.loads((tmp_path / "model" / "run.json").read_text(encoding="utf-8"))
    assert '"class_names": [' in json.dumps(run)
    exported = CliRunner().invoke(main, ["export", model, "-o", str(out), "--format", "timm"])
    assert exported.exit_code == 0, exported.output
    config = json.loads((out / "timm" / "config.json").read_text(encoding="utf-8"))
    assert config["label_names"] == ["cat", "dog", "emu", "fox"]
    assert ExportedModel.load(out).class_names == ["cat", "dog", "emu", "fox"]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert '{"0": "cat", "1": "dog", "2": "emu", "3": "fox"}' in card


def test_a_model_is_evaluated_on_another_folder_only_if_its_classes_are_the_same(
    tmp_path: Path,
) -> None:
    """Class ids follow the sorted names, so another name would silently shift the labels."""
    write(tmp_path / "x")
    model = str(tmp_path / "model")
    trained = CliRunner().invoke(main, ["train", str(run_file(tmp_path)), "-o", model])
    assert trained.exit_code == 0, trained.output
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    (tmp_path / "y" / "test" / "cat" / "0.png").unlink()
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"root": str(tmp_path / "y")}))
    command = ["evaluate", model, "--data", str(tmp_path / "other.yaml")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "Other images" in result.output
    for side in ("train", "test"):
        (tmp_path / "y" / side / "fox").rename(tmp_path / "y" / side / "bee")
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "Class 'cat' of the model is 'bee' in the other data." in result.output
