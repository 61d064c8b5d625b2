"""`sweeps gc` on a real storage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import Result

from clmethods.config import InvalidConfigError
from sweeps.definition import Sweep, load_sweep
from sweeps.planning import garbage as garbage_module
from sweeps.planning.driver_lock import keep_sweep_file, presence
from sweeps.planning.garbage import (
    Garbage,
    delete_stages,
    find_garbage,
    needed_stages,
    stage_sizes,
    stored_sweeps,
)
from sweeps.planning.plan import make_plan
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore, folder
from sweeps.storage import ObjectStore, open_storage

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


def garbage_of(
    sweep_file: Callable[..., Path], finished: Path, tmp_path: Path
) -> tuple[StageStore, Garbage]:
    """The stages of the seed that the stored sweep has dropped."""
    storage, _ = shrunk(sweep_file, finished, tmp_path)
    store = StageStore(open_storage(str(storage)))
    sizes, sweeps = stage_sizes(store), stored_sweeps(store.objects)
    garbage = find_garbage(store, sizes, needed_stages(sweeps, store.objects))
    assert garbage.stages
    return store, garbage


def other_sweep(sweep_file: Callable[..., Path]) -> Sweep:
    """A sweep that reuses what the first one has dropped."""
    return load_sweep(sweep_file(name="other", seeds=[1]))


def test_a_sweep_that_started_meanwhile_keeps_what_it_reuses(
    sweep_file: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    store, garbage = garbage_of(sweep_file, finished, tmp_path)
    sweep = other_sweep(sweep_file)
    with presence(sweep, store.objects, 2.0):
        keep_sweep_file(sweep, store.objects)
        plan = make_plan(sweep, store)
        assert not plan.tree.remaining(plan.stored)  # it will train nothing
        assert delete_stages(store, garbage) == ()
    assert all(store.has(key) for key in plan.tree.nodes)


def test_nothing_is_deleted_while_a_driver_has_not_written_its_file(
    sweep_file: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    store, garbage = garbage_of(sweep_file, finished, tmp_path)
    with (
        presence(other_sweep(sweep_file), store.objects, 2.0),
        pytest.raises(InvalidConfigError, match=r"sweep 'other' has just started"),
    ):
        delete_stages(store, garbage)
    assert all(store.has(key) for key in garbage.stages)
    assert set(delete_stages(store, garbage)) == set(garbage.stages)  # it has ended


def test_what_a_killed_driver_left_does_not_stop_the_deletion(
    sweep_file: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    store, garbage = garbage_of(sweep_file, finished, tmp_path)
    dead = LeaseTable(store.objects, 1.0, "sweeps/other/running").acquire("abc.def", "run")
    assert dead is not None
    assert set(delete_stages(store, garbage)) == set(garbage.stages)


def test_a_stage_that_is_leased_by_now_stays(
    sweep_file: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    store, garbage = garbage_of(sweep_file, finished, tmp_path)
    busy = garbage.stages[0]
    assert LeaseTable(store.objects).acquire(busy, "somebody") is not None
    assert busy not in delete_stages(store, garbage)
    assert store.has(busy)


def test_a_driver_that_starts_during_the_deletion_is_noticed(
    sweep_file: Callable[..., Path],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage_module, "LOOK_EVERY", 2)
    store, garbage = garbage_of(sweep_file, finished, tmp_path)
    sweep = other_sweep(sweep_file)
    looked = garbage_module._is_leased
    seen: list[str] = []
    with ExitStack() as stack:

        def start(leases: LeaseTable, key: str) -> bool:
            seen.append(key)
            if len(seen) == 3:
                stack.enter_context(presence(sweep, store.objects, 2.0))
                keep_sweep_file(sweep, store.objects)
            return looked(leases, key)

        monkeypatch.setattr(garbage_module, "_is_leased", start)
        deleted = delete_stages(store, garbage)
    assert deleted == garbage.stages[:4]


def test_a_stage_trained_after_the_listing_is_no_garbage(
    sweeps_command: Command,
    sweep_file: Callable[..., Path],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command lists the stages before it reads the sweep files."""
    storage = tmp_path / "storage"
    shutil.copytree(finished, storage)
    late, objects = "e" * 64, open_storage(str(storage))
    read = garbage_module.stored_sweeps

    def train(store: ObjectStore) -> list[Sweep]:
        sweeps = read(store)
        objects.put(f"{folder(late)}/stage.json", b"of a sweep that has just started")
        return sweeps

    monkeypatch.setattr(garbage_module, "stored_sweeps", train)
    assert sweeps_command("gc", storage, "--delete").exit_code == 0
    assert objects.exists(f"{folder(late)}/stage.json")


def test_a_directory_that_is_no_storage_is_refused(
    sweeps_command: Command, tmp_path: Path
) -> None:
    result = sweeps_command("gc", tmp_path)
    assert result.exit_code == 2
    assert "STORAGE: got" in result.output
    assert list(tmp_path.iterdir()) == []
