"""Forecast of bytes compared with the files of the trained stages."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clmethods.determinism import open_run
from sweeps.cli.text.plan_details import memory_lines
from sweeps.definition import expand
from sweeps.planning.plan import make_plan
from sweeps.planning.size_forecast import footprint
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.stages.small import directory_store, run_trial, small_sweep

SEARCH = {"method.importance_threshold": [0, 0.2], "method.rank": [2, 3]}


def test_the_files_of_a_plan_are_as_large_as_it_says(tmp_path: Path) -> None:
    """Distinct stages once each; what is stored is not to come."""
    sweep, store = small_sweep(search=SEARCH), directory_store(tmp_path)
    before = footprint(make_plan(sweep, store), store.objects)
    assert before.stages == before.left
    (first, *_) = trials = expand(sweep)
    run_trial(first, store)
    sizes = [size for name, size in store.objects.sizes("stages") if "/state-" in name]
    between = footprint(make_plan(sweep, store), store.objects)
    assert between.stages == before.stages
    assert between.stages - between.left == pytest.approx(sum(sizes), rel=0.05)
    for trial in trials:
        run_trial(trial, store)
    after = footprint(make_plan(sweep, store), store.objects)
    sizes = [size for name, size in store.objects.sizes("stages") if "/state-" in name]
    assert len(sizes) == 10  # 12 steps, of which the first task is shared by both thresholds
    assert (after.stages, after.left) == (before.stages, 0)
    assert after.stages == pytest.approx(sum(sizes), rel=0.05)
    assert after.stage < max(sizes) < after.stage * 1.5
    network = open_run(trials[0].run)[0].tensors.values()
    assert after.network == sum(tensor.nbytes for tensor in network)


def test_a_disk_that_is_too_small_is_said(tmp_path: Path) -> None:
    store = directory_store(tmp_path)
    plan = make_plan(small_sweep(), store)
    taken = footprint(plan, store.objects)
    free = shutil.disk_usage(tmp_path).free
    assert taken.free == pytest.approx(free, rel=0.1)
    assert taken.fits
    small = replace(taken, free=taken.left - 1)
    assert not small.fits
    memory, storage = memory_lines(plan, small)
    assert storage.endswith(f"the disk has {(taken.left - 1) / 1000:.3g} kB free: not enough")
    assert "not enough" not in "".join(memory_lines(plan, taken))
    assert memory.startswith("memory: at most ")


def test_a_bucket_has_no_disk() -> None:
    objects = open_storage("memory://")
    taken = footprint(make_plan(small_sweep(), StageStore(objects)), objects)
    assert taken.free is None
    assert taken.fits
