"""A sweep whose orders follow from the data, through the commands that plan and read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from clmethods.config.task_table import TaskTable, table_id
from clmethods.data.task_tables import keep_table
from sweeps.cli.locate import open_stored_sweep
from sweeps.definition import load_sweep, measured_sweep
from sweeps.definition.orders import task_similarity_measurement as measuring
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.storage import open_storage
from tests.sweeps.definition.orders.tables import table_of

Command = Callable[..., Result]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path) -> TaskTable:
    """A table of the finished sweep's tasks in a cache of the test's own, and no way to more."""
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measuring, "COMMAND", ("no-such-command",))
    base = open_stored_sweep(str(finished)).sweep.base
    made_up = table_of(5)
    found = TaskTable(
        of=table_id(base.backbone, base.stream),
        distance=made_up.distance,
        error=made_up.error,
        ambiguity=made_up.ambiguity,
    )
    keep_table(found)
    return found


def test_a_stored_sweep_is_read_where_neither_data_nor_cache_is(
    sweeps_command: Command,
    sweep_file: Callable[..., Path],
    table: TaskTable,
    finished: Path,
    tmp_path: Path,
) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(finished, storage)
    file = sweep_file(orders={"design": "curricula"})
    planned = sweeps_command("plan", file, "--storage", storage)
    assert "orders: curricula. Nothing: near-first, far-first" in planned.output
    keep_sweep_file(measured_sweep(load_sweep(file)), open_storage(str(storage)))
    shutil.rmtree(tmp_path / "cache")
    for command in ("status", "pareto", "orders"):
        shown = sweeps_command(command, storage)
        assert shown.exit_code == 0, shown.output
    assert open_stored_sweep(str(storage)).sweep.orders.measured == (table,)


def test_reading_a_stored_sweep_never_measures_its_tasks(
    sweeps_command: Command,
    sweep_file: Callable[..., Path],
    table: TaskTable,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file without task tables, as a user may put one into the storage, explains what to do."""
    storage = tmp_path / "storage"
    shutil.copytree(finished, storage)
    keep_sweep_file(
        load_sweep(sweep_file(orders={"design": "curricula"})), open_storage(str(storage))
    )
    monkeypatch.setattr(measuring, "kept_table", None)
    for command in ("pareto", "orders", "gc", "report"):
        refused = sweeps_command(command, storage)
        assert refused.exit_code == 2, refused.output
        assert "`sweeps run` measure the tasks of a sweep file" in refused.output
    shown = sweeps_command("status", storage)
    assert shown.exit_code == 0, shown.output
    assert "a design whose tasks were measured" in " ".join(shown.output.split())


def test_orders_says_whether_similar_tasks_cost_each_other_more(
    sweeps_command: Command, finished: Path, table: TaskTable, tmp_path: Path
) -> None:
    """Only where the similarity of the tasks is known, whatever the design."""
    heading = "Are similar tasks forgotten more?"
    shown = sweeps_command("orders", finished)
    assert shown.exit_code == 0, shown.output
    assert heading in shown.output
    assert "mean rank correlation between similarity and the loss" in shown.output
    shutil.rmtree(tmp_path / "cache")
    assert heading not in sweeps_command("orders", finished).output
