"""Commands and writers that are killed while they write: the next one ends like an unbroken one.

A limit on the size of files kills a process while it writes its temporary file, before the rename.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweeps.definition import sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.results import merge_results, read_table, write_part
from sweeps.storage import open_storage
from tests.sweeps.cli.damages import DAMAGED_SWEEP, train
from tests.sweeps.cli.reading_commands import run_command
from tests.sweeps.execution.tables import final_tables, stage_files
from tests.sweeps.results.eval_rows import eval_row

LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""
"""No file may have more than 100 bytes; the process is killed at the first longer one."""

AT_DELETION = """
import os, signal
from sweeps.storage import ObjectStore
delete_all = ObjectStore.delete_all
def killed(objects, keys):
    keys = list(keys)
    if any("/state-" in key or "/results/" in key for key in keys):
        os.kill(os.getpid(), signal.SIGKILL)
    delete_all(objects, keys)
ObjectStore.delete_all = killed
"""
"""The process is killed before it deletes the state of a stage, or files of a table."""

PARTS = """
import sys
from sweeps.results import merge_results, write_part
from sweeps.storage import open_storage
from tests.sweeps.cli.test_killed_commands import PART_NAMES, rows_of
from tests.sweeps.results.eval_rows import eval_row
objects = open_storage(sys.argv[1])
"""
WRITING = "write_part(objects, 'demo', 'evals', PART_NAMES[-1], rows_of(PART_NAMES[-1]))"
MERGING = "merge_results(objects, 'demo', ['evals'], least=2)"
COMMAND = "import sys; from sweeps.cli import main; main(sys.argv[1:])"

PART_NAMES = ("a", "b", "c")


def rows_of(stage: str) -> list[dict[str, object]]:
    return [eval_row(stage, class_id) for class_id in range(3)]


def run_killed(number: int, code: Sequence[str], arguments: Sequence[object]) -> None:
    """Run code in a process that must end by a signal."""
    script = "\n".join(textwrap.dedent(part) for part in code)
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == -number, done.stdout + done.stderr


KILLS: dict[str, tuple[int, Sequence[str]]] = {
    "in the temporary file of a part": (signal.SIGXFSZ, (PARTS, LIMIT, WRITING)),
    "in the temporary file of a merged part": (signal.SIGXFSZ, (PARTS, LIMIT, MERGING)),
    "between merged file and deletion": (signal.SIGKILL, (PARTS, AT_DELETION, MERGING)),
}


@pytest.mark.parametrize("point", KILLS)
def test_tables_after_a_killed_writer_are_those_of_an_unbroken_one(
    tmp_path: Path, point: str
) -> None:
    objects = open_storage(str(tmp_path / "storage"))
    writes_part = WRITING in KILLS[point][1]
    for name in PART_NAMES[:-1] if writes_part else PART_NAMES:
        assert write_part(objects, "demo", "evals", name, rows_of(name))
    before = read_table(objects, "demo", "evals")
    run_killed(*KILLS[point], [tmp_path / "storage"])
    after = read_table(objects, "demo", "evals")
    assert (after.table, after.warnings) == (before.table, ())
    if writes_part:
        assert write_part(objects, "demo", "evals", PART_NAMES[-1], rows_of(PART_NAMES[-1]))
    merge_results(objects, "demo", ["evals"], least=2)
    merged = read_table(objects, "demo", "evals")
    assert merged.warnings == ()
    assert merged.table.to_pylist() == [row for name in PART_NAMES for row in rows_of(name)]


def test_what_a_killed_deletion_left_is_trained_again(whole: Path, tmp_path: Path) -> None:
    """It has deleted the marker of a stage, and nothing else of it."""
    at = Path(shutil.copytree(whole, tmp_path / "storage"))
    sweep, before = sweep_from_dict(DAMAGED_SWEEP), final_tables(at, "small")
    stages = len(stage_files(at))
    shutil.rmtree(at / "sweeps")
    run_killed(signal.SIGKILL, (AT_DELETION, COMMAND), ("gc", at, "--delete"))
    assert len(stage_files(at)) == stages - 1
    objects = open_storage(str(at))
    keep_sweep_file(sweep, objects)
    train(sweep, objects)
    assert final_tables(at, "small") == before


OUTPUTS: dict[str, Callable[[Path, Path], Sequence[object]]] = {
    "select": lambda at, out: ("select", at, "-o", out / "production.yaml"),
    "report": lambda at, out: ("report", at, "-o", out / "report.html"),
    "export": lambda at, out: ("export", at, "--to", out, "--format", "csv"),
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_killed_command_leaves_its_outputs_whole(
    whole: Path, tmp_path: Path, command: str
) -> None:
    """Those that were there stay, those that were not there do not appear; then it succeeds."""
    out = tmp_path / "out"
    out.mkdir()
    arguments = OUTPUTS[command](whole, out)
    run_killed(signal.SIGXFSZ, (LIMIT, COMMAND), arguments)
    assert [path for path in out.iterdir() if not path.name.endswith(".tmp")] == []
    assert run_command(*arguments).exit_code == 0
    written = contents(out)
    if command != "select":  # which does not write a file that is the same
        run_killed(signal.SIGXFSZ, (LIMIT, COMMAND), arguments)
    assert contents(out) == written
    assert run_command(*arguments).exit_code == 0
    assert contents(out).keys() == written.keys()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".tmp"}
