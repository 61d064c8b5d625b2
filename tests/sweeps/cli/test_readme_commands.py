"""The commands of the README that read the demo's storage work as they are printed."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PRINTED = re.findall(r"^(?:\| `)?sweeps (\w+ runs/demo[^`#\n]*)", README, flags=re.MULTILINE)
COMPLETE = [line.strip() for line in PRINTED if not re.search(r"\b[A-Z]+\b|…|runs/other", line)]
NEED_RAY_OR_A_BROWSER = ("dashboard",)
COMMANDS = [line for line in dict.fromkeys(COMPLETE) if not line.startswith(NEED_RAY_OR_A_BROWSER)]


def test_the_readme_reads_the_storage_of_the_demo() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "sweeps run digits_demo --storage runs/demo" in makefile
    assert ". .venv/bin/activate" in README
    assert {line.split()[0] for line in COMMANDS} >= {"status", "report", "pareto", "select"}
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("line", COMMANDS)
def test_a_printed_command_works(
    line: str,
    sweeps_command: Command,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    result = sweeps_command(*shlex.split(line))
    # nothing of so small a sweep keeps the limit of `select`
    assert result.exit_code == (1 if line.startswith("select") else 0), result.output
    assert "Traceback" not in result.output


def test_a_wrong_folder_names_the_storage(
    sweeps_command: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    for command in ("status", "pareto", "report"):
        result = sweeps_command(command, "runs")
        assert result.exit_code == 2
        assert "There is a storage at runs/demo." in result.output
