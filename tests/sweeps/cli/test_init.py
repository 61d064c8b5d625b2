"""`sweeps init` and `sweeps schema`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from jsonschema import Draft202012Validator

from sweeps.definition import load_sweep, shipped_studies
from sweeps.definition.file.plain_data import read_yaml

Command = Callable[..., Result]


@pytest.mark.parametrize("study", sorted(shipped_studies()))
def test_init_copies_a_study_with_its_comments(
    sweeps_command: Command, tmp_path: Path, study: str
) -> None:
    target = tmp_path / "my first sweep.yaml"
    result = sweeps_command("init", study, "-o", target)
    assert result.exit_code == 0, result.output
    text, shipped = target.read_text(), shipped_studies()[study].read_text()
    assert [line for line in shipped.splitlines() if not line.startswith("name:")] == [
        line for line in text.splitlines()[2:] if not line.startswith("name:")
    ]
    document, issues = read_yaml(target)
    assert (document["name"], issues) == ("my-first-sweep", [])
    first = text.splitlines()[0]
    assert first == "# yaml-language-server: $schema=./sweep.schema.json"
    schema = json.loads((tmp_path / "sweep.schema.json").read_text())
    assert list(Draft202012Validator(schema).iter_errors(document)) == []


def test_what_init_writes_is_the_same_sweep_under_another_name(
    sweeps_command: Command, tmp_path: Path
) -> None:
    sweeps_command("init", "digits_demo", "-o", tmp_path / "mine.yaml")
    mine, shipped = (
        load_sweep(tmp_path / "mine.yaml"),
        load_sweep(shipped_studies()["digits_demo"]),
    )
    assert mine.name == "mine"
    assert mine.configurations == shipped.configurations


def test_init_overwrites_nothing(sweeps_command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("precious")
    result = sweeps_command("init", "digits_demo", "-o", tmp_path / "mine.yaml")
    assert result.exit_code == 2
    assert "a file that does not exist yet" in result.output
    assert (tmp_path / "mine.yaml").read_text() == "precious"
    assert not (tmp_path / "sweep.schema.json").exists()


def test_all_faults_of_init_come_together(sweeps_command: Command, tmp_path: Path) -> None:
    result = sweeps_command("init", "digits_dem", "-o", tmp_path / "gone" / "mine.txt")
    assert result.exit_code == 2
    assert "3 issues" in result.output
    assert "Did you mean 'digits_demo'?" in result.output


def test_the_schema_is_printed_alone(sweeps_command: Command) -> None:
    result = sweeps_command("schema")
    assert result.exit_code == 0
    assert json.loads(result.output)["title"] == "A sweep"
