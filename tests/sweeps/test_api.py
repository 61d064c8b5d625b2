"""`sweeps.load`: what a notebook gets from a storage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sweeps
from clmethods.config import InvalidConfigError
from sweeps.results import part_key, write_part
from sweeps.storage import open_storage


def stored(tmp_path, study, *names):
    """A storage whose sweeps hold the study's rows."""
    objects = open_storage(str(tmp_path))
    for name in names:
        objects.put(f"sweeps/{name}/sweep.yaml", f"name: {name}\n".encode())
        write_part(objects, name, "trials", "all", study.trial_rows)
        write_part(objects, name, "evals", "all", study.eval_rows)
    return objects


def test_every_table_says_its_sweep_and_the_summary_its_factors(tmp_path, study):
    study.add(
        [[0.9, 0.0], [0.5, 0.7]], factors=json.dumps({"method.rank": 4, "method.sites": [1]})
    )
    study.add([[0.8, 0.0], [0.8, 0.6]], factors=json.dumps({"method.kind": "joint"}))
    stored(tmp_path, study, "one", "two")
    found = sweeps.load(str(tmp_path))
    assert {name: table["sweep"].unique().to_pylist() for name, table in found.tables.items()} == {
        "trials": ["one", "two"],
        "stages": [],
        "evals": ["one", "two"],
        "matrices": [],
        "summary": ["one", "two"],
        "configurations": [],  # the files of the sweeps ask for other trials
    }
    rows = [row for row in found.summary.to_pylist() if row["split"] == "test"]
    assert [row["forgetting"] for row in rows] == pytest.approx([0.4, 0.0] * 2)
    assert [row["method.rank"] for row in rows] == [4, None] * 2
    assert rows[0]["method.sites"] == "[1]"
    assert rows[0]["wanted"] is False  # the file of the sweep asks for other trials
    answer = found.query("SELECT max(forgetting) AS worst FROM summary WHERE sweep = 'two'")
    assert answer.to_pylist() == [{"worst": pytest.approx(0.4)}]


def test_one_sweep_of_several_is_loaded_by_its_folder(tmp_path, study):
    study.add([[0.9]])
    stored(tmp_path, study, "one", "two")
    assert sweeps.load(f"{tmp_path}/sweeps/two").trials["sweep"].to_pylist() == ["two"]
    with pytest.raises(InvalidConfigError, match="Did you mean 'two'"):
        sweeps.load(f"{tmp_path}/sweeps/tow")


def test_an_empty_sweep_has_empty_tables(tmp_path, study):
    open_storage(str(tmp_path)).put("sweeps/one/sweep.yaml", b"name: one\n")
    found = sweeps.load(str(tmp_path))
    assert all(table.num_rows == 0 for table in found.tables.values())
    assert found.query("SELECT count(*) AS n FROM summary").to_pylist() == [{"n": 0}]


def test_a_truncated_part_is_named_and_the_rest_is_used(tmp_path, study):
    study.add([[0.9]])
    objects = stored(tmp_path, study, "one")
    whole = objects.get(part_key("one", "trials", "all"))
    objects.put(part_key("one", "trials", "half"), whole[: len(whole) // 2])
    found = sweeps.load(str(tmp_path))
    assert found.trials.num_rows == 1
    assert len(found.warnings) == 1
    assert "trials/half.parquet is left out" in found.warnings[0]


def test_pandas_frames_come_by_name(tmp_path, study):
    pytest.importorskip("pandas")
    study.add([[0.9, 0.0], [0.5, 0.7]])
    stored(tmp_path, study, "one")
    frames = sweeps.load(str(tmp_path)).pandas()
    mean = frames["summary"].groupby("split")["average_accuracy"].mean()
    assert mean["test"] == pytest.approx(0.6)


def test_importing_the_package_loads_no_table():
    script = "import sweeps, sys; print('pyarrow' in sys.modules, 'duckdb' in sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]
    with pytest.raises(AttributeError, match="laod"):
        sweeps.laod  # noqa: B018
