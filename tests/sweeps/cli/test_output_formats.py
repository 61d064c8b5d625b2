"""Outputs for other programs: formulas in CSV, valid JSON, and folders that are refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., Result]

FORMULA = "SELECT '=1+1' AS a, -1 AS b, '@x' AS \"+c\""


def test_a_query_escapes_formulas_by_default(sweeps_command: Command, finished: Path) -> None:
    said = sweeps_command("query", finished, FORMULA, "--format", "csv").output
    assert [*csv.reader(io.StringIO(said))] == [["a", "b", "'+c"], ["'=1+1", "-1", "'@x"]]
    raw = sweeps_command("query", finished, FORMULA, "--format", "csv", "--no-escape").output
    assert [*csv.reader(io.StringIO(raw))] == [["a", "b", "+c"], ["=1+1", "-1", "@x"]]


@pytest.mark.parametrize("kind", ["json", "csv", "table"])
def test_repeated_names_of_a_query_are_numbered(
    sweeps_command: Command, finished: Path, kind: str
) -> None:
    sql = "SELECT 1 AS a, 'nan'::DOUBLE AS a"
    result = sweeps_command("query", finished, sql, "--format", kind)
    assert result.exit_code == 0, result.output
    assert ("a 2" if kind == "table" else "a_2") in result.output  # a table shows words
    if kind == "json":
        assert json.loads(result.output, parse_constant=pytest.fail) == {"a": 1, "a_2": None}


@pytest.mark.parametrize("inside", ["", "export", "sweeps/small/results/export", "x/../export"])
def test_an_export_into_the_storage_is_refused(
    sweeps_command: Command, finished: Path, inside: str
) -> None:
    before = sorted(finished.rglob("*"))
    for directory in (finished, finished / "sweeps" / "small"):
        result = sweeps_command("export", directory, "--to", finished / inside)
        assert result.exit_code == 2, result.output
        assert f"allowed: a folder outside the storage {finished}" in result.output
    assert sorted(finished.rglob("*")) == before


def test_an_export_through_a_link_into_the_storage_is_refused(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(finished)
    result = sweeps_command("export", finished, "--to", tmp_path / "link" / "export")
    assert result.exit_code == 2, result.output
    assert not (finished / "export").exists()
