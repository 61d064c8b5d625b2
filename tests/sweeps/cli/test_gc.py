"""`sweeps gc` on a real storage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from sweeps.definition import load_sweep
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.planning.plan import make_plan
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore, folder
from sweeps.storage import open_storage

Command = Callable[..., Result]


def shrunk(sweep_file: Callable[..., Path], finished: Path, tmp_path: Path) -> tuple[Path, int]:
    """A copy of the finished storage whose sweep has dropped a seed; stages still needed."""
    storage = tmp_path / "storage"
    shutil.copytree(finished, storage)
    sweep = load_sweep(sweep_file(seeds=[0]))
    objects = open_storage(str(storage))
    keep_sweep_file(sweep, objects)
    return storage, make_plan(sweep, StageStore(objects)).tree.distinct


def test_nothing_is_garbage_while_the_sweep_needs_all(
    sweeps_command: Command, finished: Path
) -> None:
    result = sweeps_command("gc", finished)
    assert result.exit_code == 0
    assert "nothing to delete" in result.output


def test_stages_of_a_dropped_seed_go_and_those_needed_stay(
    sweeps_command: Command, sweep_file: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    storage, needed = shrunk(sweep_file, finished, tmp_path)
    objects = open_storage(str(storage))
    rows = {key: objects.get(key) for key in objects.list("sweeps/small/results")}
    before = len({key.split("/")[2] for key in objects.list("stages")})
    looked = sweeps_command("gc", storage)
    assert f"{needed} stages are needed by 1 sweeps" in looked.output
    assert f"{before - needed} stages" in looked.output
    assert len({key.split("/")[2] for key in objects.list("stages")}) == before  # only counted

    assert "deleted" in sweeps_command("gc", storage, "--delete").output
    assert len({key.split("/")[2] for key in objects.list("stages")}) == needed
    assert {key: objects.get(key) for key in objects.list("sweeps/small/results")} == rows
    again = make_plan(load_sweep(sweep_file(seeds=[0])), StageStore(objects))
    assert again.complete == again.tree.nodes.keys()  # ancestors included, evaluations too


def test_half_written_stages_are_garbage_and_leased_ones_are_not(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(finished, storage)
    objects = open_storage(str(storage))
    dead, busy = "d" * 64, "b" * 64
    for key in (dead, busy):
        objects.put(f"{folder(key)}/state-{'0' * 64}.safetensors", b"a stage that was cut off")
    lease = LeaseTable(objects).acquire(busy, "somebody")
    assert lease is not None
    result = sweeps_command("gc", storage, "--delete")
    assert "1 are not, but are being trained right now" in result.output
    left = {key.split("/")[2] for key in objects.list("stages")}
    assert busy in left
    assert dead not in left


def test_a_directory_that_is_no_storage_is_refused(
    sweeps_command: Command, tmp_path: Path
) -> None:
    result = sweeps_command("gc", tmp_path)
    assert result.exit_code == 2
    assert "STORAGE: got" in result.output
    assert list(tmp_path.iterdir()) == []
