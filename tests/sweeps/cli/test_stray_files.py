"""Files of other programs in a storage, damaged sweep files, and paths that cannot be used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from sweeps.definition import load_sweep
from sweeps.planning.driver_lock import keep_sweep_file, presence
from sweeps.storage import open_storage
from tests.sweeps.cli.conftest import DOCUMENT

Command = Callable[..., Result]
FileOf = Callable[..., Path]


STRAY = (".DS_Store", "Thumbs.db", "a b", "~lock.x#", "\u00b2", "x%2Fy")


@pytest.fixture
def storage(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished storage."""
    return Path(shutil.copytree(finished, tmp_path / "storage"))


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.output


def scatter(storage: Path, name: str) -> set[Path]:
    """A file of that name in every folder of a storage."""
    folders = [Path(folder) for folder, _, _ in os.walk(storage)]
    for folder in folders:
        (folder / name).write_bytes(b"\0\1")
    return {folder / name for folder in folders}


def test_files_of_other_programs_are_passed_over(
    sweeps_command: Command, sweep_file: FileOf, storage: Path
) -> None:
    commands = [
        ("plan", sweep_file(), "--storage", storage),
        ("status", storage),
        ("status", storage, "--json"),
        ("gc", storage),
        ("verify", storage, "--sample", 1),
        ("pareto", storage),
    ]
    before = [sweeps_command(*command) for command in commands]
    stray = {path for name in STRAY for path in scatter(storage, name)}
    after = [sweeps_command(*command) for command in commands]
    for command, old, new in zip(commands, before, after, strict=True):
        assert new.exception is None, (command, new.output)
        assert new.exit_code == old.exit_code == 0
        if command[0] in {"gc", "verify"} or command == commands[0]:
            assert _without_sizes(new.output) == _without_sizes(old.output)
    assert sweeps_command("gc", storage, "--delete").exit_code == 0
    assert all(path.exists() for path in stray)
    with presence(load_sweep(sweep_file()), open_storage(str(storage)), 1.0):
        pass


def _without_sizes(output: str) -> list[str]:
    return [line for line in output.splitlines() if "disk has" not in line]


@pytest.mark.parametrize("command", ["plan", "run", "status", "gc", "report"])
@pytest.mark.parametrize("path", ["~nosuchuser/x", "loop/x", "loop", "nobyte\udcff", "a\0b"])
def test_a_path_that_cannot_be_used_is_refused(
    sweeps_command: Command,
    sweep_file: FileOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    path: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    os.mkdir(os.fsencode("nobyte\udcff"))
    os.mkdir(os.fsencode("nobyte\udcff/stages"))
    arguments = [sweep_file(), "--storage", path] if command in {"plan", "run"} else [path]
    assert repr(path) in refused(sweeps_command(command, *arguments))


DAMAGED = {
    "bytes": b"\x00\xff\xfe\x01garbage\x80",
    "no YAML": b"name: [small\nseeds: }",
    "a list": b"- 1\n- 2\n",
    "nothing": b"",
    "a tag": b"name: small\nseeds: [!!binary aGk=]\n",
    "a number without end": b"name: small\nseeds: [" + b"1" * 5000 + b"]\n",
    "an alias without end": b"name: &a [*a]\n",
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("command", ["gc", "report", "pareto", "run"])
def test_a_damaged_stored_file_is_named_with_its_earlier_versions(
    sweeps_command: Command, storage: Path, command: str, damage: str
) -> None:
    (storage / "sweeps" / "small" / "sweep.yaml").write_bytes(DAMAGED[damage])
    run = ("run", "small", "--from-storage", "--storage", storage)
    message = refused(
        sweeps_command(*run) if command == "run" else sweeps_command(command, storage)
    )
    assert f"{storage}/sweeps/small/sweep.yaml: got" in message
    assert f"{storage}/sweeps/small/versions/" in message
    assert "1 issue" in message


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_stored_file_stops_neither_plan_nor_status(
    sweeps_command: Command, sweep_file: FileOf, storage: Path, damage: str
) -> None:
    (storage / "sweeps" / "small" / "sweep.yaml").write_bytes(DAMAGED[damage])
    planned = sweeps_command("plan", sweep_file(), "--storage", storage)
    assert planned.exit_code == 0, planned.output
    shown = sweeps_command("status", storage)
    assert shown.exit_code == 4, shown.output
    assert "sweeps/small/sweep.yaml" in shown.output


@pytest.mark.parametrize("value", ["2026-11-30", "2026-11-30 10:00:00", "2026-13-45", ".nan"])
def test_a_stored_file_with_a_value_that_no_sweep_has_is_unreadable(
    sweeps_command: Command, sweep_file: FileOf, storage: Path, value: str
) -> None:
    """Somebody has edited it."""
    text = yaml.safe_dump({k: v for k, v in DOCUMENT.items() if k != "seeds"})
    path = storage / "sweeps" / "small" / "sweep.yaml"
    path.write_text(f"{text}seeds: [{value}]\n")
    planned = sweeps_command("plan", sweep_file(), "--storage", storage)
    assert planned.exit_code == 0, planned.output
    message = refused(sweeps_command("gc", storage))
    assert f"{path}: got" in message


def test_a_path_of_a_sweep_file_that_is_no_text_can_be_logged(
    tmp_path: Path, sweep_file: FileOf
) -> None:
    from sweeps.execution.driver import RunOptions, _who

    started = _who("document", RunOptions(file="nobyte\udcff.yaml"))
    assert started.file is not None
    assert started.file.encode().startswith(b"nobyte")


def test_a_stored_file_is_read_as_it_was_written(sweep_file: FileOf, tmp_path: Path) -> None:
    from sweeps.definition import stored_sweep

    sweep, objects = load_sweep(sweep_file()), open_storage(str(tmp_path / "storage"))
    keep_sweep_file(sweep, objects)
    assert stored_sweep(objects, "small").document == sweep.document
