"""`--json` of the commands that read: valid, documented, with the numbers of the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from sweeps.presentation.documents import Block, Cell, Column, Document

Command = Callable[..., Result]

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "json.md").read_text(encoding="utf-8")
COMMANDS = {
    "pareto": ["DIR", "--attained"],
    "orders": ["DIR"],
    "effects": ["DIR"],
    "matrices": ["DIR"],
    "compare": ["DIR", "DIR"],
    "path": ["DIR", "lorac_ipc importance_threshold=0", "lorac_ipc importance_threshold=0.2"],
    "plan": ["FILE", "--storage", "DIR"],
}


def _arguments(command: str, storage: Path) -> list[object]:
    places = {"DIR": storage, "FILE": storage / "sweeps" / "answers" / "sweep.yaml"}
    return [command, *(places.get(word, word) for word in COMMANDS[command])]


def _parsed(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout, parse_constant=pytest.fail)
    return found


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_json_is_valid_and_every_key_is_documented(
    sweeps_command: Command, answers: Path, command: str
) -> None:
    text = sweeps_command(*_arguments(command, answers))
    result = sweeps_command(*_arguments(command, answers), "--json")
    assert result.exit_code == text.exit_code == 0, result.output
    found = _parsed(result)
    assert found["command"] == command
    head = DOCUMENTED.split("\n## ")[0]
    (section,) = (part for part in DOCUMENTED.split("\n## ") if part.startswith(f"{command}\n"))
    effects = next(part for part in DOCUMENTED.split("\n## ") if part.startswith("effects"))
    known = set(re.findall(r"`([\w,]+)`", head + section + effects))
    known |= {"title", "mean", "low", "high"}
    values = {"average_accuracy", "forgetting", "method.importance_threshold"}
    for key in set(_keys(found)):
        plain = re.sub(r"average_accuracy|forgetting", "METRIC", key)
        plain = re.sub(r"_(low|high)$", "", plain)
        if key in values or plain == "METRIC" or plain.isdigit() or "+" in key:
            continue  # names of metrics, fields, stages, and versions of the code
        assert plain in known or key in known, key


@pytest.mark.parametrize("command", ["pareto", "orders", "effects", "matrices"])
def test_an_unknown_option_value_has_the_same_exit_code(
    sweeps_command: Command, answers: Path, command: str
) -> None:
    for option in ([], ["--json"]):
        result = sweeps_command(command, answers / "nowhere", *option)
        assert result.exit_code == 2
        assert result.stdout == ""


def test_the_numbers_are_those_of_the_text(sweeps_command: Command, answers: Path) -> None:
    text = sweeps_command("pareto", answers).output
    rows = _parsed(sweeps_command("pareto", answers, "--json"))["configurations"]["rows"]
    assert len(rows) == 5
    for row in rows:
        (line,) = (line for line in text.splitlines() if f" {row['name']} " in line[:60])
        assert line.lstrip().startswith("*") == row["front"]
        for key in ("validation_average_accuracy", "test_average_accuracy"):
            assert f"{100 * row[key]['mean']:.1f}" in line


def test_a_sweep_without_results_has_a_document_too(
    sweeps_command: Command, sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    storage = tmp_path / "empty"
    sweeps_command("plan", sweep_file(), "--storage", storage, "--json")
    result = sweeps_command("plan", sweep_file(), "--storage", storage, "--json")
    found = _parsed(result)
    assert found["counts"]["to_train"] == found["counts"]["stages"] > 0
    assert found["counts"]["stored"] == 0
    assert found["power"]["detectable"] is None


def test_values_that_json_does_not_have_are_null() -> None:
    block = Block(
        key="b",
        columns=[Column("x", "x")],
        rows=[{"x": Cell({"mean": float("nan"), "low": float("-inf")}, "–")}],  # noqa: RUF001
    )
    found = json.loads(
        Document(command="c", facts={"f": float("inf")}, blocks=[block]).json,
        parse_constant=pytest.fail,
    )
    assert found["b"]["rows"] == [{"x": {"mean": None, "low": None}}]
    assert found["f"] is None


def test_piped_tables_have_one_line_per_row(sweeps_command: Command, answers: Path) -> None:
    lines = sweeps_command("pareto", answers).output.splitlines()
    rule = next(k for k, line in enumerate(lines) if set(line.strip()) == {"─"})
    table = lines[rule + 1 : lines.index("", rule)]
    assert len(table) == 5
    columns = [re.split(r" {3,}", line.strip()) for line in (lines[rule - 1], *table)]
    assert {len(cells) for cells in columns} == {8}  # no cell is empty
    assert columns[0][:3] == ["front", "P(front)", "configuration"]
