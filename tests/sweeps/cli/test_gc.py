"""`sweeps gc` on a real storage."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from sweeps.definition import expand, load_sweep
from sweeps.planning import garbage as garbage_module
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.planning.garbage import recorded_stages
from sweeps.planning.plan import make_plan
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore, folder
from sweeps.storage import ObjectStore, open_storage

Command = Callable[..., Result]
FileOf = Callable[..., Path]


@pytest.fixture
def storage(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "storage"))


def drop_a_seed(sweep_file: FileOf, storage: Path, *, rows: bool) -> int:
    """Store the sweep without its second seed; return the number of stages that it still needs.

    `rows`: keep the rows of the results; without them, `results/` is deleted.
    """
    sweep = load_sweep(sweep_file(seeds=[0]))
    objects = open_storage(str(storage))
    keep_sweep_file(sweep, objects)
    if not rows:
        shutil.rmtree(storage / "sweeps" / "small" / "results")
    return make_plan(sweep, StageStore(objects)).tree.distinct


def stages_of(objects: ObjectStore) -> set[str]:
    return {key.split("/")[2] for key in objects.list("stages")}


def test_nothing_is_garbage_while_the_sweep_needs_all(
    sweeps_command: Command, finished: Path
) -> None:
    result = sweeps_command("gc", finished)
    assert result.exit_code == 0
    assert "nothing to delete" in result.output


def test_stages_of_a_dropped_seed_stay_while_rows_name_them(
    sweeps_command: Command, sweep_file: FileOf, storage: Path
) -> None:
    needed = drop_a_seed(sweep_file, storage, rows=True)
    objects = open_storage(str(storage))
    before = stages_of(objects)
    result = sweeps_command("gc", storage, "--delete")
    assert result.exit_code == 0, result.output
    assert f"{needed} stages are needed by 1 sweeps" in result.output
    assert f"{len(before) - needed} stages" in result.output
    assert "needed by no sweep, but named by rows of results: kept" in result.output
    assert "nothing to delete" in result.output
    assert stages_of(objects) == before


def test_recorded_stages_go_with_a_flag_that_says_what_is_lost(
    sweeps_command: Command, sweep_file: FileOf, storage: Path
) -> None:
    needed = drop_a_seed(sweep_file, storage, rows=True)
    objects = open_storage(str(storage))
    rows = {key: objects.get(key) for key in objects.list("sweeps/small/results")}
    before = stages_of(objects)
    kept = make_plan(load_sweep(sweep_file(seeds=[0])), StageStore(objects)).tree.nodes.keys()
    trials = expand(load_sweep(sweep_file()))
    lost = [trial for trial in trials if not {stage.key for stage in trial.chain} <= kept]
    assert lost
    looked = sweeps_command("gc", storage, "--also-recorded")
    said = f"cannot be verified, extended or forked: {len(lost)} trials of sweep 'small'"
    assert said in looked.output
    assert "lorac_ipc importance_threshold=0" in looked.output
    assert f"`sweeps gc {storage} --delete --also-recorded`" in looked.output
    assert stages_of(objects) == before  # only listed

    deleted = sweeps_command("gc", storage, "--delete", "--also-recorded")
    assert deleted.exit_code == 0, deleted.output
    assert f"{len(before) - needed} stages" in deleted.output
    assert "cannot be verified" in deleted.output
    assert len(stages_of(objects)) == needed
    assert {key: objects.get(key) for key in objects.list("sweeps/small/results")} == rows
    again = make_plan(load_sweep(sweep_file(seeds=[0])), StageStore(objects))
    assert again.complete == again.tree.nodes.keys()  # ancestors included, evaluations too


def test_stages_of_a_dropped_seed_without_rows_go(
    sweeps_command: Command, sweep_file: FileOf, storage: Path
) -> None:
    needed = drop_a_seed(sweep_file, storage, rows=False)
    objects = open_storage(str(storage))
    before = stages_of(objects)
    assert f"{len(before) - needed} stages" in sweeps_command("gc", storage).output
    assert stages_of(objects) == before
    assert "deleted" in sweeps_command("gc", storage, "--delete").output
    assert len(stages_of(objects)) == needed


def test_every_table_and_every_sweep_records_its_stages(
    storage: Path, sweep_file: FileOf, sweeps_command: Command
) -> None:
    """Any single table is enough to keep a stage, and so is a sweep that needs none of them."""
    results = storage / "sweeps" / "small" / "results"
    objects = open_storage(str(storage))
    whole = set(recorded_stages(objects).sweeps)
    assert whole == stages_of(objects)
    keep_sweep_file(load_sweep(sweep_file(name="other", seeds=[0])), objects)
    kept = storage / "kept"
    (results).rename(kept)
    shutil.copytree(kept / "trials", results / "trials")
    assert set(recorded_stages(objects).sweeps) == whole  # by the chains of the trials
    shutil.rmtree(results)
    shutil.copytree(kept / "bundles", results / "bundles")
    assert set(recorded_stages(objects).sweeps) == whole  # by stages, evals and matrices
    keep_sweep_file(load_sweep(sweep_file(seeds=[0])), objects)
    assert "nothing to delete" in sweeps_command("gc", storage, "--delete").output


def test_a_table_that_cannot_be_read_stops_the_deletion(
    sweeps_command: Command, sweep_file: FileOf, storage: Path
) -> None:
    drop_a_seed(sweep_file, storage, rows=True)
    objects = open_storage(str(storage))
    before = stages_of(objects)
    for part in (storage / "sweeps" / "small" / "results" / "bundles").iterdir():
        part.write_bytes(b"")
    for part in (storage / "sweeps" / "small" / "results" / "trials").iterdir():
        part.write_bytes(b"")
    looked = sweeps_command("gc", storage)
    assert looked.exit_code == 0, looked.output
    assert "The stages that these rows name are unknown" in looked.output
    result = sweeps_command("gc", storage, "--delete")
    assert result.exit_code == 2, result.output
    assert "a storage whose result tables can be read" in result.output
    assert stages_of(objects) == before


def test_half_written_stages_are_garbage_and_leased_ones_are_not(
    sweeps_command: Command, storage: Path
) -> None:
    objects = open_storage(str(storage))
    dead, busy = "d" * 64, "b" * 64
    for key in (dead, busy):
        objects.put(f"{folder(key)}/state-{'0' * 64}.safetensors", b"a stage that was cut off")
    lease = LeaseTable(objects).acquire(busy, "somebody")
    assert lease is not None
    result = sweeps_command("gc", storage, "--delete")
    assert "1 stage, needed by no sweep, but being trained right now: kept" in result.output
    left = stages_of(objects)
    assert busy in left
    assert dead not in left


def test_garbage_has_its_age_and_the_sweep_that_trained_it(
    sweeps_command: Command, sweep_file: FileOf, storage: Path
) -> None:
    needed = drop_a_seed(sweep_file, storage, rows=False)
    objects = open_storage(str(storage))
    number = len(stages_of(objects)) - needed
    objects.put(f"{folder('d' * 64)}/state-{'0' * 64}.safetensors", b"a stage that was cut off")
    for path in (storage / "stages").rglob("*"):
        age = 3 * 86400 if "d" * 64 not in str(path) else 7200
        os.utime(path, (time.time() - age, time.time() - age))
    lines = [line.split() for line in sweeps_command("gc", storage).output.splitlines()]
    assert ["small", str(number), "stages"] in [line[:3] for line in lines]
    (owned,) = [line for line in lines if line[:1] == ["small"]]
    assert owned[-6:] == ["written", "3", "d", "0", "h", "ago"]
    (unfinished,) = [line for line in lines if line[:2] == ["(not", "finished)"]]
    assert unfinished[2:4] == ["1", "stage"]
    assert unfinished[-6:] == ["written", "2", "h", "0", "min", "ago"]


def test_a_stage_trained_after_the_listing_is_no_garbage(
    sweeps_command: Command, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command lists the stages before it reads the sweep files."""
    late, objects = "e" * 64, open_storage(str(storage))
    read = garbage_module.stored_sweeps

    def train(store: ObjectStore) -> list[object]:
        found: list[object] = [*read(store)]
        objects.put(f"{folder(late)}/stage.json", b"of a sweep that has just started")
        return found

    monkeypatch.setattr(garbage_module, "stored_sweeps", train)
    assert sweeps_command("gc", storage, "--delete").exit_code == 0
    assert objects.exists(f"{folder(late)}/stage.json")


@pytest.mark.parametrize("record", ["results/trials/a.parquet", "events/a.jsonl", "running/a/0"])
def test_a_folder_with_any_record_is_a_sweep(
    sweeps_command: Command, storage: Path, record: str
) -> None:
    objects = open_storage(str(storage))
    before = stages_of(objects)
    objects.put(f"sweeps/lost/{record}", b'{"owner": "run"}')
    for options in ((), ("--delete",)):
        result = sweeps_command("gc", storage, *options)
        assert result.exit_code == 2, result.output
        assert f"{storage}/sweeps/lost/sweep.yaml: got 'no file'" in result.output
        assert f"The folder holds {record.split('/')[0]}/ of a run" in result.output
        assert f"{storage}/sweeps/lost/events/*.json" in result.output
        assert "remove the folder" in result.output
    assert stages_of(objects) == before
    shutil.rmtree(storage / "sweeps" / "lost")
    assert sweeps_command("gc", storage, "--delete").exit_code == 0


def test_an_empty_folder_is_no_sweep(sweeps_command: Command, storage: Path) -> None:
    (storage / "sweeps" / "empty" / "running").mkdir(parents=True)
    assert sweeps_command("gc", storage, "--delete").exit_code == 0


def test_a_directory_that_is_no_storage_is_refused(
    sweeps_command: Command, tmp_path: Path
) -> None:
    result = sweeps_command("gc", tmp_path)
    assert result.exit_code == 2
    assert "STORAGE: got" in result.output
    assert list(tmp_path.iterdir()) == []


def test_what_a_probe_has_trained_stays(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path
) -> None:
    """A probe writes rows, so it stores the sweep file to which they belong."""
    storage = tmp_path / "probed"
    probed = sweeps_command("plan", sweep_file(seeds=[0]), "--storage", storage, "--probe")
    assert probed.exit_code == 0, probed.output
    objects = open_storage(str(storage))
    before = stages_of(objects)
    assert before
    result = sweeps_command("gc", storage, "--delete")
    assert result.exit_code == 0, result.output
    assert stages_of(objects) == before
    assert not [*objects.list("sweeps/small/probing")]
    keep_sweep_file(load_sweep(sweep_file(seeds=[1])), objects)
    stored = objects.get("sweeps/small/sweep.yaml")
    again = sweeps_command("plan", sweep_file(seeds=[0]), "--storage", storage, "--probe")
    assert again.exit_code == 0, again.output
    assert objects.get("sweeps/small/sweep.yaml") == stored  # that of the last run
