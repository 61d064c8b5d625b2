"""Damaged files of every kind: no traceback, and nothing is silently wrong.

The table is kind of file x damage x command. Every file of the kind is damaged. A command may go
on without the file, or name it. It must not print something else without naming the file, and
counts that may differ end with exit code 4.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from click.testing import Result

from tests.sweeps.cli.damages import DAMAGED_SWEEP, DAMAGES, KINDS, damaged_copy
from tests.sweeps.cli.reading_commands import COMMANDS, difference, outputs, stable

Command = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("short_waits")

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


def names_of(path: Path, storage: Path) -> set[str]:
    """The texts by which a message names a file: its key, or the start of its stage's key."""
    key = path.relative_to(storage)
    return {str(key)} | ({key.parts[2][:12]} if key.parts[0] == "stages" else set())


def check(
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
    for command, result in outputs(at, out, commands).items():
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
            is_copy = damage == "another file"  # a copy is named and ignored, with exit code 0
            if changed and not (named and (result.exit_code in {2, 4} or is_copy)):
                wrong.append(f"{said} differs without naming the file: {changed}")
        elif not named and command in NUMBERS:
            changed = difference(stable(result.output, at, out), undamaged[command])
            wrong += [f"{said} differs without naming the file: {changed}"] if changed else []
    return wrong


def test_damaged_files_are_passed_over_or_named(
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
            wrong += check(whole, folder, undamaged, kind, damage, chosen)
            cells += len(chosen)
    assert cells == len(KINDS) * len(COMMANDS)
    report_cells(capsys, cells)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_of_a_kind_is_passed_over_or_named(
    whole: Path,
    tmp_path: Path,
    undamaged: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    wrong = []
    for number, damage in enumerate(DAMAGES):
        folder = tmp_path / str(number)
        wrong += check(whole, folder, undamaged, kind, damage, [*COMMANDS])
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
