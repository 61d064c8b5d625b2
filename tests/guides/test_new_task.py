"""The commands of docs/guides/new-task.md, on generated images of three products."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from clmethods.archive import ModelArchive
from clmethods.archive.model import HISTORY_FILE
from clmethods.archive.model_history import read_history
from clmethods.cli import main

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "new-task.md"
PRODUCTS = {"cup": (200, 40, 40), "plate": (40, 200, 40), "lamp": (40, 40, 200)}


def photograph(product: str, cracked: bool, seed: int) -> Image.Image:
    """A colored product on a gray ground; a crack is a dark diagonal."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(90, 130, (24, 32, 3))
    pixels[4:20, 6:26] = np.array(PRODUCTS[product]) + noise.integers(-20, 20, (16, 20, 3))
    if cracked:
        for k in range(16):
            pixels[4 + k, 6 + k : 9 + k] = 0
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def blocks(language: str) -> list[str]:
    text = GUIDE.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Result]]:
    """The folder after all commands of the guide, and the result of each command."""
    folder = tmp_path_factory.mktemp("factory")
    for number, product in enumerate(PRODUCTS):
        for cracked, state in enumerate(("good", "cracked")):
            place = folder / "photos" / f"{product}s" / f"{product} {state}"
            place.mkdir(parents=True)
            for image in range(12):
                seed = 1000 * number + 100 * cracked + image
                photograph(product, bool(cracked), seed).save(place / f"{image}.png")
    (run,) = blocks("yaml")
    (folder / "week-1.yaml").write_text(run, encoding="utf-8")
    results: dict[str, Result] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLMETHODS_CACHE", str(folder / "cache"))
        patch.setenv("USER", "ada")
        patch.setenv("LOGNAME", "ada")
        patch.chdir(folder)
        for line in "".join(blocks("sh")).splitlines():
            command, _, code = line.partition(" # exit code ")
            program, *arguments = shlex.split(command)
            if program == "ln":
                *_, target, link = arguments
                Path(link).unlink(missing_ok=True)
                Path(link).symlink_to(target)
                continue
            assert program == "clmethods", line
            done = CliRunner().invoke(main, arguments)
            assert done.exit_code == int(code or 0), (line, done.output, done.exception)
            results[line] = done
    return folder, results


def result(results: dict[str, Result], start: str, number: int = 0) -> Result:
    return [done for line, done in results.items() if line.startswith(start)][number]


def test_the_gate_says_why_it_refuses_and_the_old_model_stays(
    walked: tuple[Path, dict[str, Result]],
) -> None:
    folder, results = walked
    refused = result(results, "clmethods extend", 1)
    assert "the gate refuses the model in model-3; use current, unchanged" in refused.stderr
    assert "less than 100.0%" in refused.stderr or "by more than 0.0 points" in refused.stderr
    assert len(ModelArchive.open(folder / "model-2").chain) == 2
    accepted = result(results, "clmethods extend", 2)
    assert "the gate" not in accepted.stderr
    assert "class means" in accepted.stdout


def test_the_history_names_user_data_and_the_refusal(
    walked: tuple[Path, dict[str, Result]],
) -> None:
    folder, results = walked
    text = result(results, "clmethods history").stdout
    assert text.count("by      ada on ") == len(text.split("  stage   ")) - 1
    assert "from    week-1.yaml, SHA-256 " in text
    assert "from    photos/plates" in text
    assert "refused by the gate: " in text
    entries = read_history(ModelArchive.open(folder / "model-3"))
    assert [entry.command for entry in entries] == ["train", "extend", "extend", "extend"]
    assert [bool(entry.gate) for entry in entries] == [False, False, True, False]
    assert entries[-1].stage == ModelArchive.open(folder / "model-3").chain[-1].key


def test_predictions_name_the_classes_of_the_products(
    walked: tuple[Path, dict[str, Result]],
) -> None:
    folder, _ = walked
    with (folder / "before.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["image"] for row in rows}) == 24
    names = {f"{product} {state}" for product in ("cup", "plate") for state in ("good", "cracked")}
    assert {row["class_name"] for row in rows} <= names


def test_a_changed_history_is_one_sentence(
    walked: tuple[Path, dict[str, Result]], tmp_path: Path
) -> None:
    folder, _ = walked
    ModelArchive.open(folder / "model-1").copy_to(tmp_path / "copy")
    file = tmp_path / "copy" / HISTORY_FILE
    file.write_text(file.read_text(encoding="utf-8").replace("ada", "eve"), encoding="utf-8")
    done = CliRunner().invoke(main, ["history", str(tmp_path / "copy")])
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "history.json" in done.output


def test_an_unknown_readout_is_refused_before_the_training(
    walked: tuple[Path, dict[str, Result]], tmp_path: Path
) -> None:
    folder, _ = walked
    arguments = ["--task", str(folder / "photos" / "lamps"), "--min-new", "0.5"]
    place = ["-o", str(tmp_path / "new"), "--readout", "instance"]
    done = CliRunner().invoke(main, ["extend", str(folder / "model-1"), *arguments, *place])
    assert done.exit_code == 2
    assert "--readout: got 'instance', allowed: one of ['last', 'instance-cosine']" in done.stderr
    assert not (tmp_path / "new").exists()
