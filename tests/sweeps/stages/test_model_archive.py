"""A model directory and a sweep's storage lay their stages out alike: each reads the other's."""

from __future__ import annotations

import shutil
from pathlib import Path

from clmethods.archive import ModelArchive
from clmethods.config import ReadoutConfig, evaluation_id, partition_id
from clmethods.training.sequence import run_sequence
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.clmethods.models import finished
from tests.clmethods.runs import differences, tiny_run


def test_a_sweep_reads_the_stages_of_a_model(tmp_path: Path) -> None:
    run = tiny_run()
    archive = finished(tmp_path / "m", run)
    store = StageStore(open_storage(str(tmp_path / "m")))
    identity = evaluation_id(ReadoutConfig(), partition_id(run))
    for stage, delta in zip(archive.chain, archive.deltas(), strict=True):
        kept = store.load_delta(stage.key)
        assert kept is not None
        assert differences(kept, delta) == []
        record = store.record(stage.key)
        assert record is not None
        assert record.cost["code_version"]
        assert record.marker["classes"] == list(stage.classes)
        assert store.evaluation(stage.key, identity) == archive.evaluation(stage.key, identity)


def test_a_model_goes_on_from_the_stages_of_a_sweep(tmp_path: Path) -> None:
    run = tiny_run()
    store = StageStore(open_storage(str(tmp_path / "storage")))
    run_sequence(run, archive=store, evaluations=store)
    archive = ModelArchive.create(tmp_path / "m", run)
    shutil.copytree(tmp_path / "storage" / "stages", tmp_path / "m" / "stages")
    steps = run_sequence(run, archive=archive, evaluations=archive)
    assert [step.reused for step in steps] == [True] * 3
