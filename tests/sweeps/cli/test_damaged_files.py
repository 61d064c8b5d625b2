"""Damaged files of every kind: no traceback, and nothing is silently wrong.

The table is kind of file x damage x command. Every file of the kind is damaged. A command may go
on without the file, or name it. It must not print something else without naming the file, and
counts that may differ end with exit code 4.
"""

from __future__ import annotations

import difflib
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from click.testing import Result

from sweeps.definition import expand, sweep_from_dict
from sweeps.planning import lease_readings
from tests.sweeps.cli.damages import (
    DAMAGED_SWEEP,
    DAMAGES,
    KINDS,
    LABELS,
    damaged_copy,
    finished_storage,
)

Command = Callable[..., Result]
Arguments = Callable[[Path, Path], Sequence[object]]

FIRST, SECOND = (trial.trial_id for trial in expand(sweep_from_dict(DAMAGED_SWEEP)))
COUNTED = "SELECT (SELECT count(*) FROM summary), (SELECT sum(correct) FROM evals)"

COMMANDS: dict[str, Arguments] = {
    "plan": lambda at, out: ("plan", out / "sweep.yaml", "--storage", at),
    "status": lambda at, out: ("status", at, "--trials"),
    "status as JSON": lambda at, out: ("status", at, "--json"),
    "pareto": lambda at, out: ("pareto", at, "--attained"),
    "orders": lambda at, out: ("orders", at),
    "effects": lambda at, out: ("effects", at),
    "path": lambda at, out: ("path", at, *LABELS),
    "matrices": lambda at, out: ("matrices", at),
    "compare": lambda at, out: ("compare", at, at),
    "select": lambda at, out: ("select", at),
    "query": lambda at, out: ("query", at, COUNTED),
    "export": lambda at, out: ("export", at, "--to", out / "export"),
    "report": lambda at, out: ("report", at),
    "why": lambda at, out: ("why", at, FIRST, SECOND),
    "fork": lambda at, out: ("fork", at, "--trial", FIRST, "--stage", 1, "-o", out / "f.yaml"),
    "dashboard": lambda at, out: ("dashboard", at, "-o", out / "study.log", "--no-serve"),
    "gc": lambda at, out: ("gc", at),
    "verify": lambda at, out: ("verify", at, "--sample", 20),  # last: it moves files aside
}

NUMBERS = frozenset(
    ("pareto", "orders", "effects", "path", "matrices", "compare", "select", "query", "export")
)
"""Commands that print results, which must stay the same unless the file is named."""

COUNTING = frozenset(("plan", "status", "status as JSON"))
"""Commands that print counts, which must be the same unless the file is named by an exit code."""

QUICK = ("empty", "NUL bytes", "a deep object", "wrong types", "sealed rows", "a link loop")
"""Damages of the short form of the table, which tries each of them with some of the commands."""

WITHOUT_FILE = frozenset(("an empty folder", "a folder", "a link loop", "a dangling link"))
"""Damages after which there is no object, as after its removal."""

MISSED_SILENTLY = frozenset(("marker", "counts", "cost", "evaluation cost", "driver", "lease"))
"""Objects that the storage may lack at any time: their removal shows in the counts only."""

LOST = {"sweep file": "a sweep's storage", "marker": "a stage that is stored"}
"""Objects that a command misses if there is no file of a kind in its place."""

VARIABLE = re.compile(r"read_at|per_hour|disk has|MB, \d+ finished|ago|^size|GB|CPU")
"""Lines that depend on the time or on the size of the storage."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("damaged") / "whole"
    finished_storage(root)
    return root


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` waits for a beat of each driver, here of one that has stopped."""
    monkeypatch.setattr(lease_readings, "LATENCY_S", 0.01)


def outputs(run: Command, at: Path, out: Path, commands: Iterable[str]) -> dict[str, Result]:
    out.mkdir()
    (out / "sweep.yaml").write_text(yaml.safe_dump(DAMAGED_SWEEP), encoding="utf-8")
    return {name: run(*COMMANDS[name](at, out)) for name in commands}


@pytest.fixture(scope="module")
def undamaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The output of each command for the storage as it was written."""
    from click.testing import CliRunner

    from sweeps.cli import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    folder = tmp_path_factory.mktemp("undamaged")
    at = Path(shutil.copytree(whole, folder / "storage"))
    results = outputs(run, at, folder / "out", COMMANDS)
    assert {name: result.exit_code for name, result in results.items()} == dict.fromkeys(
        COMMANDS, 0
    )
    return {name: stable(result.output, at, folder / "out") for name, result in results.items()}


def stable(output: str, at: Path, out: Path) -> str:
    text = output.replace(str(out), "OUT").replace(str(at), "STORAGE")
    return "\n".join(line for line in text.splitlines() if not VARIABLE.search(line))


def names_of(path: Path, storage: Path) -> set[str]:
    """The texts by which a message names a file: its key, or the start of its stage's key."""
    key = path.relative_to(storage)
    return {str(key)} | ({key.parts[2][:12]} if key.parts[0] == "stages" else set())


def difference(text: str, before: str) -> list[str]:
    """Return the lines of a text that differ from those before."""
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def check(
    run: Command,
    whole: Path,
    folder: Path,
    undamaged: dict[str, str],
    kind: str,
    damage: str,
    commands: Sequence[str],
) -> list[str]:
    """Return what is wrong in the cells of one kind and damage."""
    at, out = folder / "storage", folder / "out"
    paths = damaged_copy(whole, at, kind, damage)
    names = {name for path in paths for name in names_of(path, at)}
    if not paths[0].is_file():  # the storage has no sweep, or no stages, and the message says so
        names |= {LOST[kind]} if kind in LOST else set()
    silent = damage in WITHOUT_FILE and kind in MISSED_SILENTLY
    wrong = []
    for command, result in outputs(run, at, out, commands).items():
        said = f"{kind}, {damage}, {command}: {result.exit_code}, {result.output[-300:]!r}"
        flat = "".join(result.output.split())
        named = any("".join(name.split()) in flat for name in names)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            wrong.append(f"{said}: {result.exception!r}")
        elif result.exit_code not in {0, 1, 2, 4} or "Traceback" in result.output:
            wrong.append(said)
        elif result.exit_code != 0 and not named:
            wrong.append(f"{said} does not name the file")
        elif command in COUNTING and not silent:
            changed = difference(stable(result.output, at, out), undamaged[command])
            if changed and not (named and result.exit_code in {2, 4}):
                wrong.append(f"{said} differs without naming the file: {changed}")
        elif not named and command in NUMBERS:
            changed = difference(stable(result.output, at, out), undamaged[command])
            wrong += [f"{said} differs without naming the file: {changed}"] if changed else []
    return wrong


def test_damaged_files_are_passed_over_or_named(
    sweeps_command: Command,
    whole: Path,
    tmp_path: Path,
    undamaged: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The short form of the table: each command with each kind, and with one of some damages."""
    wrong, cells, commands = [], 0, [*COMMANDS]
    for row, kind in enumerate(KINDS):
        for column, damage in enumerate(QUICK):
            chosen = commands[(row + column) % len(QUICK) :: len(QUICK)]
            folder = tmp_path / f"{row}-{column}"
            wrong += check(sweeps_command, whole, folder, undamaged, kind, damage, chosen)
            cells += len(chosen)
    assert cells == len(KINDS) * len(COMMANDS)
    report_cells(capsys, cells)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_of_a_kind_is_passed_over_or_named(
    sweeps_command: Command,
    whole: Path,
    tmp_path: Path,
    undamaged: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    wrong = []
    for number, damage in enumerate(DAMAGES):
        folder = tmp_path / str(number)
        wrong += check(sweeps_command, whole, folder, undamaged, kind, damage, [*COMMANDS])
        shutil.rmtree(folder)
    report_cells(capsys, len(DAMAGES) * len(COMMANDS), kind)
    assert not wrong, "\n".join(wrong)


def report_cells(capsys: pytest.CaptureFixture[str], cells: int, kind: str = "") -> None:
    with capsys.disabled():
        print(f"\ndamaged files{kind and ', '}{kind}: {cells} cells")  # noqa: T201


@pytest.mark.parametrize("command", ["plan", "status", "status as JSON"])
def test_damaged_rows_of_trials_are_named_where_trials_are_counted(
    sweeps_command: Command, whole: Path, tmp_path: Path, command: str
) -> None:
    """Their trials count as not ended, which nothing else would explain."""
    at, out = Path(shutil.copytree(whole, tmp_path / "storage")), tmp_path / "out"
    out.mkdir()
    (out / "sweep.yaml").write_text(yaml.safe_dump(DAMAGED_SWEEP), encoding="utf-8")
    part = sorted((at / "sweeps").glob("*/results/trials/*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:50])
    result = sweeps_command(*COMMANDS[command](at, out))
    assert result.exit_code == 4, result.output
    assert part.name in "".join(result.output.split())


def test_files_that_were_left_out_end_no_process_that_has_loaded_ray(
    sweeps_command: Command, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook or a test that has imported Ray goes on after the exit code."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    at = Path(shutil.copytree(whole, tmp_path / "storage"))
    sorted((at / "sweeps").glob("*/results/trials/*.parquet"))[0].write_bytes(b"")
    assert sweeps_command("pareto", at).exit_code == 4
