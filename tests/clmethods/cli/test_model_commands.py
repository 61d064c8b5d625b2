"""`clmethods train -o`, `evaluate`, `export` and `extend`, as a user gives them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from clmethods.archive import ModelArchive, StoredMetrics
from clmethods.checksummed_json import add_checksum
from clmethods.cli import main
from clmethods.export import ExportedModel
from tests.clmethods.models import damage

RUN: dict[str, Any] = {
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 3, "limit": 4},
    "method": {"kind": "lorac_ipc", "rank": 2},
    "train": {"epochs": 1},
}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def written(folder: Path, content: Any, name: str = "run.yaml") -> Path:
    file = folder / name
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    result = call("train", written(folder, RUN), "-o", folder / "model")
    assert result.exit_code == 0, result.output
    return folder / "model"


def refused(result: Result, code: int, part: str) -> None:
    assert result.exit_code == code, result.output
    assert part in result.output
    assert "Traceback" not in result.output


def test_train_goes_on_and_prints_the_same(tmp_path: Path) -> None:
    file = written(tmp_path, RUN)
    first = call("train", file, "-o", tmp_path / "m", "--json")
    second = call("train", file, "-o", tmp_path / "m", "--json")
    plain = call("train", file, "--json")
    assert first.stdout == second.stdout == plain.stdout
    assert first.stderr.count(": trained") == 3
    assert second.stderr.count(": already trained") == 3
    assert plain.stderr == ""


def test_train_refuses_the_directory_of_another_run(model: Path, tmp_path: Path) -> None:
    result = call("train", written(tmp_path, RUN | {"seed": 7}), "-o", model)
    refused(result, 2, "seed: 0 stored, 7 requested")


def test_a_file_that_names_its_readout_is_evaluated_with_it(tmp_path: Path) -> None:
    chosen = {"run": RUN, "readout": {"routing": "instance", "metric": "euclid"}}
    result = call("train", written(tmp_path, chosen), "-o", tmp_path / "m", "--json")
    assert set(json.loads(result.stdout)) == {"last", "instance-cosine", "instance-euclid"}
    assert call("evaluate", tmp_path / "m").exit_code == 0


@pytest.mark.parametrize("split", ["test", "validation"])
def test_evaluate_agrees_with_what_is_stored(model: Path, split: str) -> None:
    result = call("evaluate", model, "--split", split, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["agrees"] is True
    assert found[split] == ModelArchive.open(model).metrics().splits[split]
    assert "reproduce the stored metrics" in call("evaluate", model).output


def test_evaluate_tells_metrics_that_the_weights_do_not_give(tmp_path: Path) -> None:
    call("train", written(tmp_path, RUN), "-o", tmp_path / "m")
    archive = ModelArchive.open(tmp_path / "m")
    kept = archive.metrics()
    splits = json.loads(json.dumps(kept.splits))
    splits["test"]["last"]["accuracy"][2][0] += 0.25
    archive.save_metrics(StoredMetrics(kept.readouts, splits))
    result = call("evaluate", tmp_path / "m")
    refused(result, 1, "do NOT reproduce the stored metrics: last: accuracy[2][0].")
    assert call("evaluate", tmp_path / "m", "--tolerance", "0.3").exit_code == 0


def test_evaluate_on_other_images_promises_nothing(model: Path, tmp_path: Path) -> None:
    more = written(tmp_path, {"limit": 9}, "data.yaml")
    result = call("evaluate", model, "--data", more, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["agrees"] is None
    assert found["test"] != ModelArchive.open(model).metrics().splits["test"]
    other = written(tmp_path, {"class_order_seed": 3}, "data.yaml")
    refused(call("evaluate", model, "--data", other), 2, "the same classes in the same tasks")


def test_evaluate_refuses_what_it_cannot_compare(model: Path, tmp_path: Path) -> None:
    refused(call("evaluate", tmp_path), 2, "is not a model directory")
    shutil.copytree(model, tmp_path / "m")
    damage(next((tmp_path / "m").rglob("state-*.safetensors")))
    refused(call("evaluate", tmp_path / "m"), 2, "its checksum differs from the one in its name")
    shutil.copytree(model, tmp_path / "n")
    damage(tmp_path / "n" / "metrics.json")
    refused(call("evaluate", tmp_path / "n"), 2, "its checksum does not match its content")


def test_export_writes_what_was_asked_for(model: Path, tmp_path: Path) -> None:
    result = call("export", model, "-o", tmp_path / "out", "--format", "timm")
    assert result.exit_code == 0, result.output
    assert "timm: logits differ by at most" in result.output
    assert ExportedModel.load(tmp_path / "out").classes.tolist() == list(range(10))
    assert not (tmp_path / "out" / "peft").exists()
    again = call("export", model, "-o", tmp_path / "out", "--format", "timm")
    refused(again, 2, "is not empty")


@pytest.mark.parametrize("readout", ["last", "instance-cosine"])
def test_an_export_keeps_its_promise_and_is_extended(
    model: Path, tmp_path: Path, readout: str
) -> None:
    out = tmp_path / "out"
    assert call("export", model, "-o", out, "--readout", readout).exit_code == 0
    agreed = call("evaluate", out)
    assert agreed.exit_code == 0, agreed.output
    assert "The exported files reproduce the stored accuracies." in agreed.output
    grown = call("extend", out, "--task", "glyph100:3", "-o", tmp_path / "grown")
    same = call("extend", model, "--task", "glyph100:3", "-o", tmp_path / "same")
    assert grown.exit_code == 0, grown.output
    assert grown.stdout.replace("grown", "same") == same.stdout


def test_evaluate_tells_an_export_that_does_not_keep_its_promise(
    model: Path, tmp_path: Path
) -> None:
    call("export", model, "-o", tmp_path / "out")
    document = tmp_path / "out" / "export.json"
    content = json.loads(document.read_bytes())["content"]
    row = content["metrics"]["test"]["last"]["accuracy"][-1]
    row[1] = 0.123
    document.write_bytes(add_checksum(content, readable=True))
    found = call("evaluate", tmp_path / "out", "--json")
    assert found.exit_code == 1, found.output
    assert json.loads(found.stdout)["differs"] == ["task 1"]  # counted from 0, as everywhere


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--readout", "instance-cosine", "--format", "timm"], "timm does not support"),
        (["--readout", "oracle"], "one of ['last', 'instance-cosine']"),
    ],
)
def test_export_refuses(model: Path, tmp_path: Path, options: list[str], part: str) -> None:
    refused(call("export", model, "-o", tmp_path / "out", *options), 2, part)


def test_extend_takes_a_name_with_ids_or_a_file(model: Path, tmp_path: Path) -> None:
    named = call("extend", model, "--task", "glyph100:3-4,8", "-o", tmp_path / "a")
    assert named.exit_code == 0, named.output
    assert (
        "task 3 glyph100 has the new classes 10 to 12, classes [3, 4, 8] of glyph100"
        in named.output
    )
    file = written(tmp_path, {"dataset": "glyph100", "classes": [3, 4, 8], "limit": 4}, "t.yaml")
    other = call("extend", model, "--task", file, "-o", tmp_path / "b")
    keys = [ModelArchive.open(tmp_path / name).chain[-1].key for name in ("a", "b")]
    assert keys[0] == keys[1]
    assert named.output.replace("/a;", "/b;") == other.output
    assert call("evaluate", tmp_path / "a").exit_code == 0


@pytest.mark.parametrize(
    ("task", "part"),
    [
        ("glyph10:1", "Did you mean 'glyph100'?"),
        ("glyph100:1-x", "ids and ranges of ids, such as 0-4,7"),
        ("glyph100:99,100", "ids from 0 to 99"),
        ("nowhere.yaml", "a file that can be read"),
    ],
)
def test_extend_refuses(model: Path, tmp_path: Path, task: str, part: str) -> None:
    refused(call("extend", model, "--task", task, "-o", tmp_path / "n"), 2, part)
    assert not (tmp_path / "n").exists()
