"""Images that were replaced under the same names and sizes do not reuse stored stages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from clmethods.config import InvalidConfigError, stage_chain
from sweeps.cli import main
from sweeps.definition import Sweep, sweep_from_dict
from sweeps.planning.data_content import keep_content, refuse_other_content
from sweeps.planning.driver_lock import keep_sweep_file, refuse_other_meaning
from sweeps.planning.label_consistency import meaning_of
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import open_storage
from tests.clmethods.data.files import noise
from tests.clmethods.data.test_content import replace_image, write_images
from tests.sweeps.stages.small import DOCUMENT


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))


def sweep(root: Path, name: str = "small", **stream: Any) -> Sweep:
    """Return the sweep as another process reads it."""
    for folder in root.iterdir():
        os.utime(folder)
    data = {"dataset": "image-folder", "root": str(root), "tasks": 1, **stream}
    return sweep_from_dict({**DOCUMENT, "name": name, "stream": data})


@pytest.mark.parametrize("name", ["small", "another"])
def test_replaced_images_are_refused_in_every_sweep_of_a_storage(
    name: str, tmp_path: Path
) -> None:
    write_images(tmp_path / "x")
    objects = open_storage("memory://")
    first = sweep(tmp_path / "x")
    refuse_other_content(first, objects)
    keep_content(first, objects)
    refuse_other_content(sweep(tmp_path / "x"), objects, read_all=True)
    replace_image(tmp_path / "x")
    second = sweep(tmp_path / "x", name)
    runs = [each.configurations[0].run for each in (first, second)]
    keys = [[stage.key for stage in stage_chain(run)] for run in runs]
    assert keys[0] == keys[1]
    with pytest.raises(InvalidConfigError) as found:
        refuse_other_content(second, objects)
    assert "set stream.fingerprint: content" in str(found.value)
    remedied = sweep(tmp_path / "x", name, fingerprint="content")
    refuse_other_content(remedied, objects)
    other = [stage.key for stage in stage_chain(remedied.configurations[0].run)]
    assert not set(other) & set(keys[0])


def test_two_roots_of_one_sweep_with_equal_names_and_sizes_are_refused(tmp_path: Path) -> None:
    for name in ("x", "y"):
        write_images(tmp_path / name)
    replace_image(tmp_path / "y")
    first, second = (
        {"dataset": "image-folder", "root": str(tmp_path / name), "tasks": tasks}
        for name, tasks in (("x", 1), ("y", 2))
    )
    document = {name: value for name, value in DOCUMENT.items() if name != "stream"}
    both = sweep_from_dict({**document, "search": {"stream": [first, second]}})
    with pytest.raises(InvalidConfigError, match=r"stream\.root: got .*/y'"):
        refuse_other_content(both, open_storage("memory://"))


def test_a_storage_of_an_earlier_version_is_used(tmp_path: Path) -> None:
    """Its rows lack the new facts of the data, and it has no record of the content."""
    write_images(tmp_path / "x")
    objects = open_storage("memory://")
    first = sweep(tmp_path / "x")
    keep_sweep_file(first, objects)
    for trial in first.configurations:
        run = json.loads(json.dumps(meaning_of(trial.run)))
        assert "content" not in run["stream"]["record"]
        assert "fingerprint" not in run["stream"]
    refuse_other_content(first, objects)


def test_rows_with_other_content_have_the_same_meaning(tmp_path: Path) -> None:
    from sweeps.definition import expand

    write_images(tmp_path / "x")
    objects = open_storage("memory://")
    first = sweep(tmp_path / "x")
    keep_sweep_file(first, objects)
    (trial,) = expand(first)
    record_trial(
        StageStore(objects), first, trial, 1, AttemptResult(status="failed", stages_done=0)
    )
    extended = sweep_from_dict({**first.document, "seeds": [0, 1]})
    refuse_other_meaning(extended, objects)


def test_plan_refuses_replaced_images(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    storage = str(tmp_path / "storage")
    keep_content(sweep(tmp_path / "x"), open_storage(storage))
    image = tmp_path / "x" / "class1" / "2.bmp"
    Image.fromarray(noise(9, 9, 3, seed=77)).save(image)
    os.utime(tmp_path / "x" / "class1")
    document = {
        **DOCUMENT,
        "stream": {"dataset": "image-folder", "root": str(tmp_path / "x"), "tasks": 1},
    }
    (tmp_path / "small.yaml").write_text(json.dumps(document))
    result = CliRunner().invoke(main, ["plan", str(tmp_path / "small.yaml"), "--storage", storage])
    assert result.exit_code == 2
    assert "Files were replaced under the same names and sizes." in result.output


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"dataset": "image-folder"}'])
def test_a_damaged_record_of_the_content_is_refused(damage: bytes, tmp_path: Path) -> None:
    """Nothing would tell whether the stored stages belong to the present images."""
    write_images(tmp_path / "x")
    objects = open_storage("memory://")
    keep_content(sweep(tmp_path / "x"), objects)
    (name,) = objects.list("data")
    objects.put(name, damage)
    for check in (refuse_other_content, keep_content):
        with pytest.raises(InvalidConfigError, match=r"data/\w+\.json: got 'a damaged file'"):
            check(sweep(tmp_path / "x"), objects)
    assert objects.get(name) == damage


def test_two_first_runs_cannot_keep_different_content(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    objects = open_storage("memory://")
    first = sweep(tmp_path / "x")
    refuse_other_content(first, objects)
    replace_image(tmp_path / "x")
    keep_content(sweep(tmp_path / "x"), objects)  # another process was quicker
    with pytest.raises(InvalidConfigError, match="stages of this storage were trained on"):
        keep_content(first, objects)


def test_a_probe_keeps_the_content_of_its_stages(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    data = {
        "dataset": "image-folder",
        "root": str(tmp_path / "x"),
        "tasks": 1,
        "validation_fraction": 0,
    }
    (tmp_path / "s.json").write_text(json.dumps({**DOCUMENT, "stream": data}))
    storage = tmp_path / "runs"
    arguments = ["plan", str(tmp_path / "s.json"), "--storage", str(storage), "--probe"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert len(list(open_storage(str(storage)).list("data"))) == 1
