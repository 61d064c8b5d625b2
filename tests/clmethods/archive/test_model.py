"""A model directory: resumed without loss, refused when it is another one, damage never read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from clmethods.archive import ArchiveError, ModelArchive
from clmethods.checkpoint import fold
from clmethods.checksummed_json import add_checksum, verify_checksum
from clmethods.config import BackboneConfig, InvalidConfigError, RunConfig, StageSpec
from clmethods.training.sequence import run_sequence
from clmethods.training.stage import StageOutcome
from tests.clmethods.models import INSTANCE, damage, finished
from tests.clmethods.runs import MemoryArchive, differences, tiny_run


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def stage_folder(archive: ModelArchive, position: int) -> Path:
    key = archive.chain[position].key
    return archive.folder / "stages" / key[:2] / key


def test_a_stored_run_reads_back_bit_for_bit(tmp_path: Path) -> None:
    run = tiny_run()
    archive = finished(tmp_path / "m", run)
    memory = MemoryArchive()
    run_sequence(run, (), memory)
    found = ModelArchive.open(tmp_path / "m")
    assert found.run == archive.run
    for stage, delta in zip(found.chain, found.deltas(), strict=True):
        kept = memory.load_delta(stage.key)
        assert kept is not None
        assert differences(delta, kept) == []
        figures = memory.outcomes[stage.key]
        report = found.reports()[stage.position]
        assert report["training"] == json.loads(json.dumps(asdict(figures.training)))


def test_i42_an_interrupted_run_goes_on_and_loses_only_the_running_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after the payload of the second stage, before its marker."""
    run = tiny_run()
    archive = ModelArchive.create(tmp_path / "m", run)
    write = ModelArchive.save

    def save(self: ModelArchive, stage: StageSpec, outcome: StageOutcome, cost: object) -> None:
        write(self, stage, outcome, {})
        if stage.position == 1:
            (stage_folder(self, 1) / "stage.json").unlink()
            raise Interrupted

    monkeypatch.setattr(ModelArchive, "save", save)
    with pytest.raises(Interrupted):
        run_sequence(run, archive=archive, evaluations=archive)
    monkeypatch.undo()
    assert ModelArchive.open(tmp_path / "m").finished() == 1
    again = ModelArchive.create(tmp_path / "m", run)
    steps = run_sequence(run, archive=again, evaluations=again)
    assert [step.reused for step in steps] == [True, False, False]
    unbroken = finished(tmp_path / "other", run)
    assert differences(fold(again.deltas()), fold(unbroken.deltas())) == []


def test_evaluations_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_run()
    archive = finished(tmp_path / "m", run, [INSTANCE])
    steps = run_sequence(run, [INSTANCE], archive, archive)
    monkeypatch.setattr(
        "clmethods.training.completion.Evaluator", None
    )  # nothing is evaluated again
    assert run_sequence(run, [INSTANCE], archive, archive) == steps
    kept = archive.metrics()
    assert kept.readouts == [INSTANCE]
    assert set(kept.splits) == {"validation", "test"}


def test_another_run_is_refused_and_every_difference_named(tmp_path: Path) -> None:
    run = tiny_run()
    ModelArchive.create(tmp_path / "m", run)
    other = replace(run, seed=3, train=replace(run.train, lr=0.125))
    with pytest.raises(ArchiveError) as refusal:
        ModelArchive.create(tmp_path / "m", other)
    message = str(refusal.value)
    assert "contains another run" in message
    assert "seed: 0 stored, 3 requested" in message
    assert "train.lr: 0.005 stored, 0.125 requested" in message
    assert len(message.splitlines()) == 3


def test_weights_count_by_content(tmp_path: Path) -> None:
    """The same file elsewhere is the same run; other weights are not, whatever their path."""
    from clmethods.checkpoint import state_to_bytes
    from clmethods.nn.backbone import load_backbone

    run = tiny_run()
    tensors = load_backbone(run.backbone, "float32", "cpu").tensors
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    paths[0].write_bytes(state_to_bytes(tensors))
    paths[1].write_bytes(paths[0].read_bytes())
    other = {name: t + 1 if name == "norm.bias" else t for name, t in tensors.items()}
    paths[2].write_bytes(state_to_bytes(other))
    runs = [
        replace(run, backbone=BackboneConfig(name="tiny_vit8", weights=str(p), image_size=8))
        for p in paths
    ]
    ModelArchive.create(tmp_path / "m", runs[0])
    ModelArchive.create(tmp_path / "m", runs[1])
    with pytest.raises(ArchiveError, match=r"backbone.weights: "):
        ModelArchive.create(tmp_path / "m", runs[2])
    with pytest.raises(ArchiveError, match=r"backbone.weights: "):
        ModelArchive.create(tmp_path / "m", run)
    paths[0].unlink()
    with pytest.raises(InvalidConfigError, match=r"m: backbone.weights: .*No file at"):
        ModelArchive.open(tmp_path / "m")
    moved = ModelArchive.open(tmp_path / "m", str(paths[1]))
    assert moved.chain == ModelArchive.create(tmp_path / "n", runs[1]).chain
    with pytest.raises(InvalidConfigError, match="a file with SHA-256"):
        ModelArchive.open(tmp_path / "m", str(paths[2]))


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ArchiveError, match=r"contains files but no run\.json"):
        ModelArchive.create(tmp_path, tiny_run())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_is_not_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ArchiveError, match=r"is not a model directory: it has no readable run\.json"
    ):
        ModelArchive.open(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("state-*.safetensors", "its checksum differs from the one in its name"),
        ("stage.json", "its checksum does not match its content"),
    ],
)
def test_damage_is_refused_when_read_and_repaired_when_trained(
    tmp_path: Path, pattern: str, message: str
) -> None:
    run = tiny_run()
    whole = finished(tmp_path / "m", run)
    before = fold(whole.deltas())
    (file,) = stage_folder(whole, 1).glob(pattern)
    damage(file)
    with pytest.raises(ArchiveError, match=message):
        ModelArchive.open(tmp_path / "m").deltas()
    printed: list[str] = []
    again = ModelArchive.create(tmp_path / "m", run, printed.append)
    steps = run_sequence(run, (), again)
    assert [step.reused for step in steps] == [True, False, True]
    assert differences(fold(again.deltas()), before) == []
    assert len(printed) == 1
    assert message in printed[0]
    assert "will be trained again" in printed[0]


def edit(change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "run.json"
        document = verify_checksum(path.read_bytes())
        assert isinstance(document, dict)
        change(document)
        path.write_bytes(add_checksum(document))

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: damage(folder / "run.json"), "is damaged"),
        (edit(lambda document: document.update(format=99)), "has format 99"),
        (edit(lambda document: document.update(stages=["0" * 64])), "keys differ"),
    ],
)
def test_a_run_document_that_cannot_be_trusted_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    ModelArchive.create(tmp_path / "m", tiny_run())
    spoil(tmp_path / "m")
    with pytest.raises(ArchiveError, match=message):
        ModelArchive.open(tmp_path / "m")


def test_an_unfinished_run_has_neither_deltas_nor_metrics(tmp_path: Path) -> None:
    run: RunConfig = tiny_run()
    archive = ModelArchive.create(tmp_path / "m", run)
    for read in (archive.deltas, archive.metrics, archive.reports):
        with pytest.raises(
            ArchiveError, match="not finished: stage 1 of 3, task 0, is not trained"
        ):
            read()


def test_swapped_evaluations_are_evaluated_again(tmp_path: Path) -> None:
    run = tiny_run()
    archive = finished(tmp_path / "m", run, [INSTANCE])
    steps = run_sequence(run, [INSTANCE], archive, archive)
    files = [next((tmp_path / "m" / "stages").glob(f"*/{s.key}/evals/*")) for s in archive.chain]
    one, other = files[1].read_bytes(), files[2].read_bytes()
    assert one != other
    files[1].write_bytes(other)
    files[2].write_bytes(one)
    again = ModelArchive.open(tmp_path / "m")
    identity = files[1].stem
    assert [again.evaluation(s.key, identity) is None for s in again.chain] == [False, True, True]
    counts = [[*step.counts.values()] for step in run_sequence(run, [INSTANCE], again, again)]
    assert counts == [[*step.counts.values()] for step in steps]
    assert [files[1].read_bytes(), files[2].read_bytes()] == [one, other]


def test_counts_of_an_earlier_version_are_read_unless_they_contradict_the_stage(
    tmp_path: Path,
) -> None:
    archive = finished(tmp_path / "m", tiny_run(), [INSTANCE])
    files = [next((tmp_path / "m" / "stages").glob(f"*/{s.key}/evals/*")) for s in archive.chain]
    expected = [archive.evaluation(s.key, files[0].stem) for s in archive.chain]
    for file in files:
        document = verify_checksum(file.read_bytes())
        assert document is not None
        file.write_bytes(add_checksum(document["value"]))
    assert [archive.evaluation(s.key, files[0].stem) for s in archive.chain] == expected
    files[1].write_bytes(files[2].read_bytes())
    assert archive.evaluation(archive.chain[1].key, files[1].stem) is None


def test_metrics_of_another_run_are_refused(tmp_path: Path) -> None:
    run = tiny_run()
    archive = finished(tmp_path / "m", run, [INSTANCE])
    other = finished(tmp_path / "n", replace(run, seed=1), [INSTANCE])
    whole = archive.metrics()
    path = archive.folder / "metrics.json"
    document = verify_checksum(path.read_bytes())
    assert document is not None
    path.write_bytes((other.folder / "metrics.json").read_bytes())
    with pytest.raises(ArchiveError, match=r"metrics.json belongs to another run"):
        archive.metrics()
    del document["stage"]  # as earlier versions wrote it
    path.write_bytes(add_checksum(document))
    assert archive.metrics() == whole
