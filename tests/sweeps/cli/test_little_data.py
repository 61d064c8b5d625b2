"""Sweeps that hold too little: every command says what it cannot tell, and why."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from sweeps.definition import sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.storage import open_storage
from tests.sweeps.cli.conftest import DOCUMENT
from tests.sweeps.results.apart import take_apart

Command = Callable[..., Result]


@pytest.fixture
def one_run_each(finished: Path, tmp_path: Path) -> Path:
    """The finished sweep with the trials of one order and one seed only."""
    storage = tmp_path / "one"
    shutil.copytree(finished, storage)
    for part in storage.glob("sweeps/small/results/trials/*.parquet"):
        (row,) = pq.read_table(part).to_pylist()
        if row["seed"] != 0 or row["order_id"] not in {"any", "0-1-2-3-4"}:
            part.unlink()
    return storage


@pytest.mark.parametrize("command", ["pareto", "orders", "effects", "select"])
def test_an_empty_sweep_has_no_answer_and_no_traceback(
    sweeps_command: Command, tmp_path: Path, command: str
) -> None:
    keep_sweep_file(sweep_from_dict(DOCUMENT), open_storage(str(tmp_path)))
    result = sweeps_command(command, tmp_path)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "no finished trial" in result.output or "no configuration has a finished run" in (
        result.output
    )


def test_one_run_each_has_no_intervals_and_says_so(
    sweeps_command: Command, one_run_each: Path
) -> None:
    pareto = sweeps_command("pareto", one_run_each).output
    assert "one run each: intervals and shares are unavailable" in pareto
    assert "%" not in next(line for line in pareto.splitlines() if "threshold=0.2" in line)
    orders = sweeps_command("orders", one_run_each).output
    assert orders.count("not known") == 4
    assert "no interval" in sweeps_command("effects", one_run_each).output
    card = sweeps_command("select", one_run_each).output
    assert "warning" in card
    assert "no prediction interval" in card


def test_an_objective_that_is_the_same_everywhere(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    """Every answer is right: accuracy is 1 and forgetting 0 in every run."""
    storage = tmp_path / "copy"
    shutil.copytree(finished, storage)
    take_apart(storage, "small")
    for part in storage.glob("sweeps/small/results/evals/*.parquet"):
        table = pq.read_table(part)
        right = pc.if_else(table["seen"], table["n"], None)
        column = table.schema.get_field_index("correct")
        pq.write_table(table.set_column(column, table.schema.field(column), right), part)
    pareto = sweeps_command("pareto", storage)
    assert "left out" not in pareto.output
    assert pareto.output.count("100.0 ± 0.0") >= 4
    effects = sweeps_command("effects", storage)
    assert "+0.0 to +0.0" in effects.output
    for command in ("orders", "select"):
        assert sweeps_command(command, storage).exit_code == 0
    assert sweeps_command("select", storage, "--knee").exit_code == 0


def test_interquartile_means_are_marked(sweeps_command: Command, finished: Path) -> None:
    assert (
        "interquartile mean, in parentheses the 95 %"
        in sweeps_command("pareto", finished, "--iqm").output
    )
