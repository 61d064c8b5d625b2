"""A storage of an earlier commit is read: nothing is trained again, and its numbers are the same.

`stored_before.zip` holds the small sweep of two thresholds as commit 908c557 wrote it, before
modules and classes were renamed.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import sweeps
from sweeps.definition import expand, stored_sweep
from sweeps.execution.backlog import Backlog
from sweeps.planning.plan import make_plan
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage

ARCHIVE = Path(__file__).with_name("stored_before.zip")
TEST_RESULTS = {
    ("lorac_ipc importance_threshold=0", "last"): (7 / 48, 5 / 32),
    ("lorac_ipc importance_threshold=0", "instance-cosine"): (6 / 48, 6 / 32),
    ("lorac_ipc importance_threshold=0.2", "last"): (6 / 48, 4 / 32),
    ("lorac_ipc importance_threshold=0.2", "instance-cosine"): (5 / 48, 5 / 32),
}
"""Average accuracy and forgetting on test images, by label and readout."""


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_every_stage_is_found_and_whole(storage: Path) -> None:
    objects = open_storage(str(storage))
    sweep, store = stored_sweep(objects, "small"), StageStore(objects)
    plan = make_plan(sweep, store)
    assert len(plan.stored) == len(plan.tree.nodes) == 5
    assert all(store.load_delta(key) is not None for key in plan.tree.nodes)
    assert {stage.key for trial in expand(sweep) for stage in trial.chain} == set(plan.stored)
    assert Backlog(sweep, store).take() == []


def test_the_tables_have_the_same_numbers(storage: Path) -> None:
    loaded = sweeps.load(str(storage))
    rows = [table.num_rows for table in (loaded.trials, loaded.stages, loaded.evals)]
    assert rows == [2, 5, 200]
    found = {
        (row["label"], row["readout_id"]): (row["average_accuracy"], row["forgetting"])
        for row in loaded.summary.to_pylist()
        if row["split"] == "test"
    }
    assert found.keys() == TEST_RESULTS.keys()
    for key, values in found.items():
        assert values == pytest.approx(TEST_RESULTS[key])
