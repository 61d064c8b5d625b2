"""Imports of the commands: reading results needs nothing that is slow to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from sweeps.cli import READERS, SUMMARIES, main

ROOT = Path(__file__).parents[3]
HEAVY = (
    *("torch", "timm", "ray", "pandas", "optuna", "duckdb", "matplotlib", "statsmodels"),
    *("scipy.stats", "scipy.optimize", "scipy.linalg"),
)
"""Modules that no reading command imports."""
UNNEEDED_FOR_HELP = (*HEAVY, "numpy", "pyarrow", "pydantic", "scipy", "rich", "yaml", "obstore")


def imported_by(arguments: list[str], modules: tuple[str, ...]) -> list[str]:
    """Those of the modules that a command has imported at its end, in a fresh process."""
    script = f"""
import atexit, sys
atexit.register(lambda: print("imported:", *(m for m in {modules!r} if m in sys.modules)))
from sweeps.__main__ import main
main({arguments!r})
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("imported:").split()


def test_the_help_imports_no_library_but_click() -> None:
    assert imported_by(["--help"], UNNEEDED_FOR_HELP) == []


@pytest.mark.parametrize("command", ["status", "pareto", "orders", "select"])
def test_a_reading_command_imports_nothing_heavy(command: str, finished: Path) -> None:
    heavy = (*HEAVY, "scipy") if command == "status" else HEAVY  # it computes no interval
    assert imported_by([command, str(finished)], heavy) == []


def test_that_check_can_fail(finished: Path) -> None:
    assert imported_by(["query", str(finished), "SELECT 1"], HEAVY) == ["duckdb"]


def test_the_summaries_of_the_help_are_those_of_the_commands() -> None:
    context = click.Context(main)
    assert main.list_commands(context) == list(SUMMARIES)
    for name, summary in SUMMARIES.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(200) == summary
    modules = {path.stem for path in (ROOT / "sweeps/cli/commands").glob("[!_]*.py")}
    assert modules | {"plan"} == set(SUMMARIES)
    assert set(SUMMARIES) >= READERS
    assert main.get_command(context, "nothing") is None
