"""A storage that another user owns, without the right to write: every reading command works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

NOBODY = 65534
WITHOUT_RIGHTS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
"""Starts a process of root without its capabilities, so that owners and modes apply to it."""

READING: dict[str, Callable[[Path, Path], Sequence[object]]] = {
    "plan": lambda at, out: ("plan", out / "sweep.yaml", "--storage", at),
    "status": lambda at, out: ("status", at, "--trials"),
    "pareto": lambda at, out: ("pareto", at),
    "orders": lambda at, out: ("orders", at),
    "effects": lambda at, out: ("effects", at),
    "matrices": lambda at, out: ("matrices", at),
    "compare": lambda at, out: ("compare", at, at),
    "select": lambda at, out: ("select", at, "-o", out / "production.yaml"),
    "query": lambda at, out: ("query", at, "SELECT count(*) FROM evals"),
    "export": lambda at, out: ("export", at, "--to", out / "export"),
    "report": lambda at, out: ("report", at, "-o", out / "report.html"),
    "verify": lambda at, out: ("verify", at, "--sample", 1),
    "gc": lambda at, out: ("gc", at),
    "dashboard": lambda at, out: ("dashboard", at, "-o", out / "study.log", "--no-serve"),
}

RUN = """
import json, sys
from click.testing import CliRunner
from sweeps.cli import main
results = [CliRunner().invoke(main, arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([[result.exit_code, result.output] for result in results]))
"""


@pytest.fixture
def foreign(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the finished storage that this user may only read."""
    storage = Path(shutil.copytree(finished, tmp_path / "storage"))
    for path in [storage, *storage.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    yield storage
    for path in [storage, *storage.rglob("*")]:
        path.chmod(0o755)


def run(commands: Sequence[Sequence[object]]) -> list[tuple[int, str]]:
    """Exit code and output of commands, in one process without rights of its own."""
    import json

    start = WITHOUT_RIGHTS if os.geteuid() == 0 else ()
    text = json.dumps([[str(argument) for argument in command] for command in commands])
    done = subprocess.run(
        [*start, sys.executable, "-c", RUN, text], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [(code, output) for code, output in json.loads(done.stdout.splitlines()[-1])]


def test_every_reading_command_works(
    foreign: Path, tmp_path: Path, sweep_file: Callable[..., Path]
) -> None:
    sweep_file()
    before = sorted(foreign.rglob("*"))
    results = run([arguments(foreign, tmp_path) for arguments in READING.values()])
    failed = {
        name: result for name, result in zip(READING, results, strict=True) if result[0] != 0
    }
    assert failed == {}
    assert sorted(foreign.rglob("*")) == before


def test_a_command_that_writes_says_what_it_lacks(foreign: Path) -> None:
    results = run([("report", foreign), ("gc", foreign, "--delete")])
    assert [code for code, _ in results] == [2, 2]
    assert all("Permission denied" in output for _, output in results)
    assert "`-o FILE` writes the report elsewhere." in results[0][1]


def test_a_damaged_stage_is_named_where_it_cannot_be_moved_aside(foreign: Path) -> None:
    for path in foreign.glob("stages/*/*/result-*.json"):
        path.chmod(0o644)
        path.write_bytes(b"{}")
        path.chmod(0o444)
    ((code, output),) = run([("verify", foreign, "--sample", 1)])
    assert code == 1, output
    assert "is damaged and cannot be moved aside" in output
    assert "result does not have its checksum" in output
    assert "0 of 1 stages have the same bits" in output
