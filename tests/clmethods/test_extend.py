"""The task that arrives later: old stages stay, classes are numbered on, old data is optional."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clmethods.archive import ArchiveError, ModelArchive
from clmethods.checkpoint import fold
from clmethods.config import (
    METHOD_CONFIGS,
    JointLoraConfig,
    NewTask,
    ReadoutConfig,
    SequentialFinetuningConfig,
    StreamConfig,
    as_trained,
)
from clmethods.data.datasets import DATASETS, _open
from clmethods.data.extended_stream import open_stream
from clmethods.data.source import DatasetError, Source
from clmethods.determinism import open_run
from clmethods.export import ExportedModel, ExportOptions, export_model
from clmethods.extend import Comparison, extend_model
from clmethods.nn.head import initial_head
from clmethods.training.stage import run_stage
from tests.clmethods.models import INSTANCE, damage, finished
from tests.clmethods.runs import differences, same_bits, small_method, tiny_run

GLYPHS = NewTask(stream=StreamConfig(dataset="glyph100", tasks=1, limit=4), classes=(3, 5, 8))
CHAINS = sorted(kind for kind, config in METHOD_CONFIGS.items() if not config.ORDER_FREE)


@pytest.mark.parametrize("kind", CHAINS)
def test_old_stages_stay_and_the_new_one_learns(kind: str, tmp_path: Path) -> None:
    old = finished(tmp_path / "m", tiny_run(small_method(kind)))
    found = extend_model(old, GLYPHS, tmp_path / "n")
    new = ModelArchive.open(tmp_path / "n")
    assert [differences(a, b) for a, b in zip(old.deltas(), new.deltas(), strict=False)] == [
        []
    ] * 3
    last = new.chain[-1]
    assert last.classes == (10, 11, 12)
    again = run_stage(as_trained(new.run, 3), last, fold(old.deltas())).delta
    assert differences(new.deltas()[-1], again) == []
    matrix = new.metrics().splits["test"]["last"]["accuracy"]
    assert [sum(a is not None for a in row) for row in matrix] == [1, 2, 3, 4]
    before = old.metrics().splits["test"]["last"]["accuracy"]
    assert [row[:3] for row in matrix[:3]] == before
    standing = found.comparisons[1]
    assert standing.new == matrix[-1][3]
    assert standing.old == pytest.approx(sum(matrix[-1][:3]) / 3)


def test_new_head_rows_are_those_that_the_class_would_always_have_had(tmp_path: Path) -> None:
    """With no step taken, the head after the extension is the one drawn for all 13 classes."""
    old = finished(tmp_path / "m", tiny_run(epochs=0))
    extend_model(old, GLYPHS, tmp_path / "n")
    weight = fold(ModelArchive.open(tmp_path / "n").deltas())["head.weight"]
    assert same_bits(weight, initial_head(13, weight.shape[1], 0)[0])


def test_the_global_loss_runs_over_old_and_new_classes(tmp_path: Path) -> None:
    method = SequentialFinetuningConfig(head_loss="global")
    old = finished(tmp_path / "m", tiny_run(method))
    extend_model(old, GLYPHS, tmp_path / "n")
    rows = [fold(a.deltas())["head.weight"] for a in (old, ModelArchive.open(tmp_path / "n"))]
    assert (rows[1][:10] != rows[0]).any(dim=1).all()


def test_a_task_can_follow_a_task_and_all_of_it_is_exported(tmp_path: Path) -> None:
    old = finished(tmp_path / "m", tiny_run(precision="float32"), [INSTANCE])
    # not a class that is there already: equal images would tie two tasks
    more = NewTask(stream=StreamConfig(dataset="glyph100", tasks=1, limit=4), classes=(9,))
    middle = extend_model(old, GLYPHS, tmp_path / "n").archive
    extend_model(middle, more, tmp_path / "o")
    found = ModelArchive.open(tmp_path / "o")
    export_model(found, tmp_path / "out", ExportOptions(readout=INSTANCE))
    model = ExportedModel.load(tmp_path / "out")
    assert model.classes.tolist() == list(range(14))
    images = open_run(found.run)[1].data((13,), "test").images
    alone = replace(old.run, stream=more.stream)
    assert torch.equal(images, open_run(alone)[1].data((9,), "test").images)
    assert set(model.routes(images).tolist()) <= set(range(5))
    document = (tmp_path / "out" / "README.md").read_text()
    assert "classes [3, 5, 8] of `glyph100`" in document


def test_the_comparison_is_what_the_methods_alone_give(tmp_path: Path) -> None:
    """Class means over the whole chain are those of a run that had the task from the start."""
    old = finished(tmp_path / "m", tiny_run(small_method("nearest_class_mean")))
    found = extend_model(old, GLYPHS, tmp_path / "n")
    by_way = {row.way: row for row in found.comparisons}
    on_top = by_way["nearest_class_mean on top of it"]
    means = by_way["class means on the frozen backbone"]
    fields = ("new_given", "new", "old")
    assert [getattr(on_top, f) for f in fields] == [getattr(means, f) for f in fields]
    alone = by_way["nearest_class_mean without the old tasks"]
    assert alone == Comparison(way=alone.way, new_given=means.new_given)
    before = old.metrics().splits["test"]["last"]["average_accuracy"]
    assert by_way["the model before"].old == before


def test_without_the_old_data_the_new_task_is_learned_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(stream=StreamConfig(dataset="glyph100", tasks=4, limit=2))
    old = finished(tmp_path / "m", run)
    digits = NewTask(stream=StreamConfig(dataset="digits", tasks=1, limit=4), classes=(0, 1))
    whole = extend_model(old, digits, tmp_path / "whole")

    def gone(root: str | None) -> Source:
        raise DatasetError("the glyphs are gone")

    monkeypatch.setitem(DATASETS, "glyph100", gone)
    for opened in (open_stream, _open):
        opened.cache_clear()
    try:
        found = extend_model(old, digits, tmp_path / "n")
    finally:
        for opened in (open_stream, _open):
            opened.cache_clear()
    assert found.old_data_error == "the glyphs are gone"
    assert differences(fold(found.archive.deltas()), fold(whole.archive.deltas())) == []
    assert [s.old is None for s in found.comparisons[1:]] == [True] * 4
    assert [s.new_given for s in found.comparisons] == [s.new_given for s in whole.comparisons]


def test_kept_statistics_route_to_old_tasks_without_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(stream=StreamConfig(dataset="glyph100", tasks=4, limit=2))
    adapted = ReadoutConfig(routing="instance", tap=True, tap_epochs=2)
    old = finished(tmp_path / "m", run, [adapted])
    digits = NewTask(stream=StreamConfig(dataset="digits", tasks=1, limit=4), classes=(0, 1))
    whole = extend_model(old, digits, tmp_path / "whole").archive
    export_model(whole, tmp_path / "from-all", ExportOptions(readout=adapted))

    def gone(root: str | None) -> Source:
        raise DatasetError("the glyphs are gone")

    monkeypatch.setitem(DATASETS, "glyph100", gone)
    for opened in (open_stream, _open):
        opened.cache_clear()
    try:
        grown = extend_model(old, digits, tmp_path / "n").archive
        export_model(grown, tmp_path / "from-kept", ExportOptions(readout=adapted))
    finally:
        for opened in (open_stream, _open):
            opened.cache_clear()
    kept, everything = grown.statistics(), whole.statistics()
    assert differences(kept, everything) == []
    for name in ("router.safetensors", "snapshots/4/adapter_model.safetensors"):
        one, other = (tmp_path / folder / name for folder in ("from-kept", "from-all"))
        assert one.read_bytes() == other.read_bytes()


def test_what_cannot_be_extended_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    joint = finished(tmp_path / "joint", tiny_run(JointLoraConfig(rank=2)))
    with pytest.raises(ValueError, match="train it again on all tasks"):
        extend_model(joint, GLYPHS, tmp_path / "n")
    begun = ModelArchive.create(tmp_path / "begun", tiny_run())
    with pytest.raises(ArchiveError, match="is not finished"):
        extend_model(begun, GLYPHS, tmp_path / "n")
    whole = finished(tmp_path / "m", tiny_run())
    key = whole.chain[0].key
    damage(next((tmp_path / "m" / "stages" / key[:2] / key).glob("state-*")))
    with pytest.raises(ArchiveError, match="is damaged"):
        extend_model(whole, GLYPHS, tmp_path / "n")
    assert not (tmp_path / "n").exists()
