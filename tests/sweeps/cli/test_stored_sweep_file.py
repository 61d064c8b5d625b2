"""The stored sweep file is a record: changed, damaged or lost, it is refused and restored."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from click import Context
from click.testing import Result

import sweeps
from clmethods.config import InvalidConfigError
from sweeps.definition import ChangedSweepFileError, load_sweep, stored_sweep
from sweeps.planning.driver_lock import keep_sweep_file, refuse_other_meaning
from sweeps.planning.sweep_file_restoring import restore_sweep_file
from sweeps.results.event_kinds import RunStarted
from sweeps.results.events import EventLog
from sweeps.storage import open_storage

Command = Callable[..., Result]
FileOf = Callable[..., Path]

BEFORE = Path(__file__).parents[1] / "stored_before.zip"
LABELS = ("lorac_ipc importance_threshold=0", "lorac_ipc importance_threshold=0.2")

COMMANDS: dict[str, Callable[[Path], Sequence[object]]] = {
    "run": lambda at: ("run", "small", "--from-storage", "--storage", at),
    "status": lambda at: ("status", at),
    "report": lambda at: ("report", at),
    "pareto": lambda at: ("pareto", at),
    "orders": lambda at: ("orders", at),
    "effects": lambda at: ("effects", at),
    "path": lambda at: ("path", at, *LABELS),
    "matrices": lambda at: ("matrices", at),
    "compare": lambda at: ("compare", at, at),
    "select": lambda at: ("select", at),
    "query": lambda at: ("query", at, "SELECT count(*) AS n FROM summary"),
    "export": lambda at: ("export", at, "--to", at.parent / "export"),
    "verify": lambda at: ("verify", at, "--sample", 1),
    "why": lambda at: ("why", at, *LABELS),
    "fork": lambda at: (
        *("fork", at, "--trial", "0", "--stage", 1),
        *("-o", at.parent / "fork.yaml"),
    ),
    "gc": lambda at: ("gc", at),
    "gc --delete": lambda at: ("gc", at, "--delete"),
}


@pytest.fixture
def storage(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "storage"))


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A storage of an earlier version, which kept no versions of the sweep file."""
    with zipfile.ZipFile(BEFORE) as archive:
        archive.extractall(tmp_path / "before")
    return tmp_path / "before"


def file_in(storage: Path) -> Path:
    return storage / "sweeps" / "small" / "sweep.yaml"


def change(storage: Path) -> str:
    """Change a value in the stored file; return its text."""
    text = file_in(storage).read_text().replace("epochs: 1", "epochs: 2", 1)
    assert text != file_in(storage).read_text()
    file_in(storage).write_text(text)
    return text


def objects_of(storage: Path) -> set[Path]:
    return {path for path in storage.rglob("*") if path.is_file()}


def test_every_command_is_in_the_table() -> None:
    from sweeps.cli import main

    without_stored_file = {"init", "plan", "schema", "restore", "dashboard"}
    every = set(main.list_commands(Context(main)))
    assert {name.split()[0] for name in COMMANDS} == every - without_stored_file


@pytest.mark.parametrize("command", COMMANDS)
def test_a_changed_file_is_refused_by_every_command(
    sweeps_command: Command, storage: Path, command: str
) -> None:
    change(storage)
    files = objects_of(storage)
    result = sweeps_command(*COMMANDS[command](storage))
    assert result.exit_code == 2, result.output
    assert f"{file_in(storage)}: got 'a file that was changed'" in result.output
    assert "edit your own file and run it with `sweeps run FILE`" in result.output
    assert f"`sweeps restore {storage}/sweeps/small`" in result.output
    assert objects_of(storage) == files


def test_status_shows_what_was_run_nevertheless(sweeps_command: Command, storage: Path) -> None:
    change(storage)
    output = sweeps_command("status", storage).output
    assert "Counted from the event log" in output
    assert "0 finished" not in output


def test_a_notebook_gets_the_same_error(storage: Path) -> None:
    change(storage)
    with pytest.raises(ChangedSweepFileError, match="a file that was changed"):
        sweeps.load(str(storage))


def test_a_file_with_the_same_content_is_no_change(sweeps_command: Command, storage: Path) -> None:
    document = yaml.safe_load(file_in(storage).read_text())
    file_in(storage).write_text("# a comment\n" + yaml.safe_dump(document, sort_keys=True))
    assert sweeps_command("pareto", storage).exit_code == 0


def test_a_version_that_was_run_may_be_copied_back(
    sweeps_command: Command, sweep_file: FileOf, storage: Path
) -> None:
    first = file_in(storage).read_bytes()
    keep_sweep_file(load_sweep(sweep_file(seeds=[0])), open_storage(str(storage)))
    assert file_in(storage).read_bytes() != first
    file_in(storage).write_bytes(first)
    assert sweeps_command("pareto", storage).exit_code == 0


def test_a_changed_file_is_restored_and_kept(sweeps_command: Command, storage: Path) -> None:
    whole = file_in(storage).read_bytes()
    text = change(storage)
    result = sweeps_command("restore", storage)
    assert result.exit_code == 0, result.output
    assert f"is restored from {storage}/sweeps/small/versions/" in result.output
    assert file_in(storage).read_bytes() == whole
    (kept,) = (storage / "sweeps" / "small" / "replaced").iterdir()
    assert kept.read_text() == text
    assert str(kept) in result.output
    assert "nothing to restore" in sweeps_command("restore", storage).output
    assert "nothing to delete" in sweeps_command("gc", storage, "--delete").output


def test_the_version_of_the_last_run_is_restored(sweep_file: FileOf, tmp_path: Path) -> None:
    """The order of the checksums in the folder says nothing about the order of the runs."""
    objects = open_storage(str(tmp_path / "storage"))
    seeds = ([0], [1], [2], [0])
    for number, each in enumerate(seeds):
        sweep = load_sweep(sweep_file(seeds=each))
        log = EventLog(objects, "small", f"{number:012x}")
        log.add(RunStarted(document=keep_sweep_file(sweep, objects), code_version="0"))
        log.flush(force=True)
        objects.delete("sweeps/small/sweep.yaml")
        restored = restore_sweep_file(objects, "small")
        assert restored is not None
        assert stored_sweep(objects, "small").document == sweep.document
    assert len([*objects.list("sweeps/small/versions")]) == 3


def test_a_damaged_version_is_not_restored(storage: Path, sweeps_command: Command) -> None:
    (version,) = (storage / "sweeps" / "small" / "versions").iterdir()
    version.write_text(change(storage))
    result = sweeps_command("restore", storage)
    assert result.exit_code == 2
    assert "Run your own file" in result.output


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in {"status", "query"}])
def test_a_lost_file_is_named_with_its_source(
    sweeps_command: Command, storage: Path, command: str
) -> None:
    file_in(storage).unlink()
    (version,) = (storage / "sweeps" / "small" / "versions").iterdir()
    files = objects_of(storage)
    result = sweeps_command(*COMMANDS[command](storage))
    assert result.exit_code == 2, result.output
    assert f"{file_in(storage)}: got 'no file'" in result.output
    assert "results/, versions/ of a run" in result.output
    assert f"restores the file of the last run, from {version}" in result.output
    assert objects_of(storage) == files
    assert sweeps_command("restore", storage).exit_code == 0
    assert sweeps_command("pareto", storage).exit_code == 0


def test_status_and_query_read_a_sweep_without_its_file(
    sweeps_command: Command, storage: Path
) -> None:
    file_in(storage).unlink()
    status = sweeps_command("status", storage)
    assert status.exit_code == 4, status.output
    assert "sweep.yaml" in status.output
    assert sweeps_command(*COMMANDS["query"](storage)).exit_code == 0


def test_an_older_storage_without_versions_is_accepted(before: Path) -> None:
    assert not (before / "sweeps" / "small" / "versions").exists()
    assert stored_sweep(open_storage(str(before)), "small").name == "small"


def test_its_changed_file_is_noticed_by_the_event_that_holds_it(
    sweeps_command: Command, before: Path
) -> None:
    whole = stored_sweep(open_storage(str(before)), "small").document
    change(before)
    (event,) = (before / "sweeps" / "small" / "events").iterdir()
    result = sweeps_command("gc", before, "--delete")
    assert result.exit_code == 2, result.output
    assert "a file that was changed" in result.output
    assert f"from {event}" in result.output
    assert "is restored from" in sweeps_command("restore", before).output
    assert stored_sweep(open_storage(str(before)), "small").document == whole


def test_its_lost_file_is_restored_from_the_event(sweeps_command: Command, before: Path) -> None:
    whole = stored_sweep(open_storage(str(before)), "small").document
    stages = objects_of(before / "stages")
    file_in(before).unlink()
    (event,) = (before / "sweeps" / "small" / "events").iterdir()
    result = sweeps_command("gc", before, "--delete")
    assert result.exit_code == 2, result.output
    assert f"from {event}" in result.output
    assert objects_of(before / "stages") == stages
    assert f"is restored from {event}" in sweeps_command("restore", before).output
    assert stored_sweep(open_storage(str(before)), "small").document == whole
    assert "nothing to delete" in sweeps_command("gc", before, "--delete").output


def test_a_file_with_no_record_of_a_run_is_accepted(sweep_file: FileOf, tmp_path: Path) -> None:
    objects = open_storage(str(tmp_path / "storage"))
    objects.put("sweeps/small/sweep.yaml", sweep_file().read_bytes())
    assert stored_sweep(objects, "small").name == "small"


@pytest.mark.parametrize("spoil", [change, lambda storage: file_in(storage).unlink()])
def test_rows_keep_their_meaning_if_the_stored_file_is_of_no_use(
    sweep_file: FileOf, storage: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(storage)
    objects = open_storage(str(storage))
    refuse_other_meaning(load_sweep(sweep_file()), objects)
    with pytest.raises(InvalidConfigError, match="a name under which every label keeps"):
        refuse_other_meaning(load_sweep(sweep_file(train__epochs=2)), objects)
