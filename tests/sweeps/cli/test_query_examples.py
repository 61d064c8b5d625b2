"""The SQL and pandas examples of the documentation give the numbers of `sweeps pareto`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import sweeps

Command = Callable[..., Result]

ROOT = Path(__file__).parents[3]
FILES = (
    "README.md",
    "sweeps/README.md",
    "sweeps/api/loaded_sweeps.py",
    "sweeps/cli/commands/query.py",
)
TEXTS = {name: html.unescape((ROOT / name).read_text(encoding="utf-8")) for name in FILES}


def _statements(text: str) -> list[str]:
    """Every SQL statement in double quotes, also if it is written in several pieces or lines."""
    joined = re.sub(r'"\s*\n\s*"', "", text)
    return [" ".join(s.split()) for s in re.findall(r'"(SELECT [^"]*)"', joined)]


EXAMPLES = [(name, sql) for name, text in TEXTS.items() for sql in _statements(text)]


def _means(sweeps_command: Command, storage: Path) -> dict[str, dict[str, float | None]]:
    found = json.loads(sweeps_command("pareto", storage, "--json").output)
    return {
        row["label"]: {
            metric: None if row[f"test_{metric}"] is None else row[f"test_{metric}"]["mean"]
            for metric in ("average_accuracy", "forgetting")
        }
        for row in found["configurations"]["rows"]
    }


def test_there_are_examples_and_none_averages_over_readouts() -> None:
    assert {name for name, _ in EXAMPLES} == set(FILES)
    for name, sql in EXAMPLES:
        assert "readout_id = " in sql, (name, sql)
        assert "split = " in sql, (name, sql)


@pytest.mark.parametrize(("name", "sql"), EXAMPLES)
def test_an_example_agrees_with_pareto(
    sweeps_command: Command, answers: Path, name: str, sql: str
) -> None:
    rows = sweeps.load(str(answers)).query(sql).to_pylist()
    known = _means(sweeps_command, answers)
    assert {row["label"] for row in rows} == set(known)
    for row in rows:
        for metric, value in row.items():
            if metric != "label":
                assert value == pytest.approx(known[row["label"]][metric]), (name, metric)


def test_the_pandas_example_agrees_with_pareto(sweeps_command: Command, answers: Path) -> None:
    example = 'rows[(rows["readout_id"] == "last") & (rows["split"] == "test")]'
    assert all(
        example in TEXTS[name] for name in ("sweeps/README.md", "sweeps/api/loaded_sweeps.py")
    )
    rows = sweeps.load(str(answers)).configurations()
    rows = rows[(rows["readout_id"] == "last") & (rows["split"] == "test")].set_index("label")
    for label, means in _means(sweeps_command, answers).items():
        assert rows.loc[label, "average_accuracy"] == pytest.approx(means["average_accuracy"])


def test_the_view_has_one_row_per_configuration_readout_and_split(answers: Path) -> None:
    found = sweeps.load(str(answers))
    keys = ("config_id", "readout_id", "split")
    rows = found.tables["configurations"].select(list(keys)).to_pylist()
    distinct = {tuple(row[key] for key in keys) for row in rows}
    assert len(rows) == len(distinct)
    assert distinct == {
        tuple(row[key] for key in keys) for row in found.summary.select(list(keys)).to_pylist()
    }
    assert len({row["readout_id"] for row in rows}) > 1
