"""Stored sweeps are read with the facts of the data that they were run with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from clmethods.config import InvalidConfigError
from sweeps.cli import main
from sweeps.definition import expand, load_sweep, stored_sweep, sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file, refuse_other_meaning
from sweeps.search.requested_results import read_results
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import open_storage
from tests.clmethods.data.files import noise, write_png
from tests.clmethods.data.test_content import write_images
from tests.sweeps.stages.small import DOCUMENT


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))


def written(tmp_path: Path, **fields: Any) -> Path:
    """Write a sweep over a folder that it names relative to the working directory."""
    write_images(tmp_path / "x")
    stream = {"dataset": "image-folder", "root": "x", "tasks": 1}
    document = {**DOCUMENT, "stream": stream, **fields}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(document))))
    return tmp_path / "sweep.yaml"


def run(file: Path, storage: Path) -> None:
    """Store what a run stores: its file, and a row of each trial."""
    objects = open_storage(str(storage))
    sweep = load_sweep(file)
    keep_sweep_file(sweep, objects)
    for trial in expand(sweep):
        record_trial(
            StageStore(objects), sweep, trial, 1, AttemptResult(status="failed", stages_done=0)
        )


@pytest.mark.parametrize("change", ["one more image", "no data", "another working directory"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"search": {"stream.root": ["x"], "method.rank": [1, 2]}},
        {
            "algorithm": {"kind": "tpe", "trials": 3, "batch": 1},
            "search": {"train.lr": [0.1, 0.2]},
        },
    ],
    ids=["base", "axis", "model"],
)
def test_results_do_not_depend_on_the_present_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], change: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run(written(tmp_path, **fields), tmp_path / "runs")
    objects = open_storage(str(tmp_path / "runs"))
    before = stored_sweep(objects, "small")
    if change == "one more image":
        (folder,) = {path.parent for path in sorted((tmp_path / "x").rglob("*.*"))[:1]}
        write_png(folder / "new.png", noise(12, 12, 3, seed=77))
    elif change == "no data":
        shutil.rmtree(tmp_path / "x")
    else:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    after = stored_sweep(objects, "small")
    assert after.document == before.document
    assert [trial.trial_id for trial in expand(after)] == [t.trial_id for t in expand(before)]
    assert after.runs[0].stream.root == str(tmp_path / "x")
    assert len(read_results(after, objects).trials) == len(expand(before))


def test_a_run_on_other_data_needs_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path)
    run(file, tmp_path / "runs")
    objects = open_storage(str(tmp_path / "runs"))
    refuse_other_meaning(load_sweep(file), objects)  # unchanged
    folder = sorted(path for path in (tmp_path / "x").iterdir() if path.is_dir())[0]
    write_png(folder / "new.png", noise(12, 12, 3, seed=77))
    with pytest.raises(InvalidConfigError, match=r"stream\.record\.version"):
        refuse_other_meaning(load_sweep(file), objects)
    refused = CliRunner().invoke(main, ["plan", str(file), "--storage", str(tmp_path / "runs")])
    assert refused.exit_code == 2
    assert "stream.record.version" in refused.output


def test_a_sweep_of_shipped_data_has_no_records() -> None:
    assert "data_records" not in sweep_from_dict(DOCUMENT).document
