"""The command `clmethods`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from clmethods.cli import main

RUN = {
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 5, "limit": 4},
    "method": {"kind": "lorac_ipc", "rank": 2},
    "train": {"epochs": 1},
}


def write(folder: Path, **changes: object) -> Path:
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(RUN | changes), encoding="utf-8")
    return file


def test_train_prints_the_accuracy_matrix_of_every_readout(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["train", str(write(tmp_path)), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert set(found) == {"last", "instance-cosine"}
    matrix = found["last"]["accuracy"]
    assert [sum(a is not None for a in row) for row in matrix] == [1, 2, 3, 4, 5]
    assert found["last"]["average_accuracy"] == pytest.approx(sum(matrix[-1]) / 5)


def test_a_joint_run_has_one_row_and_no_forgetting(tmp_path: Path) -> None:
    file = write(tmp_path, method={"kind": "joint_lora", "rank": 2})
    result = CliRunner().invoke(main, ["train", str(file)])
    assert result.exit_code == 0, result.output
    assert "all tasks" in result.output
    (line,) = [
        line for line in result.output.splitlines() if line.strip().startswith("forgetting ")
    ]
    assert line.split()[1] == "-"


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    [
        ({"method": {"kind": "lorac_ipc", "rank": 0}}, 2, "method.rank"),
        ({"strem": {}}, 2, "stream"),
        ({"stream": {"dataset": "cifar_100"}}, 2, "Did you mean 'cifar100'?"),
        ({"stream": {"dataset": "digits", "tasks": 11}}, 2, "the number of classes of digits"),
        ({"stream": {"dataset": "cifar100"}}, 1, "Put cifar-100-python.tar.gz, the unpacked"),
        ({"train": {"epochs": 1, "lr": 1e30, "grad_clip": None}}, 1, "no longer finite"),
    ],
)
def test_what_is_wrong_is_one_message(
    tmp_path: Path, changes: dict[str, object], code: int, part: str
) -> None:
    result = CliRunner().invoke(main, ["train", str(write(tmp_path, **changes))])
    assert result.exit_code == code
    assert part in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["train", str(tmp_path / "nowhere.yaml")])
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.output
