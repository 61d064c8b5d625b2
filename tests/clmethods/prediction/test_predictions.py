"""Predictions of stored models, compared with the evaluation on the same image files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clmethods
from clmethods.archive import ModelArchive, chain_evaluator
from clmethods.checkpoint import fold
from clmethods.config import (
    BackboneConfig,
    LoracIpcConfig,
    MethodConfig,
    NearestClassMeanConfig,
    RanpacConfig,
    ReadoutConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
)
from clmethods.determinism import open_run
from clmethods.errors import ClmethodsError, InvalidConfigError
from clmethods.export import ExportOptions, export_model
from clmethods.prediction.results import HEADER, plain_text
from tests.clmethods.data.files import noise, write_png
from tests.clmethods.models import INSTANCE, finished

LAST = ReadoutConfig()
TAP = ReadoutConfig(routing="instance", tap=True, tap_epochs=1)
LORAC = LoracIpcConfig(rank=2, importance_threshold=0.1, lora_alpha=2.0)
SHAPES = [(48, 96), (37, 53), (50, 31), (12, 40), (9, 7)]
NAMES = ("=cmd", "blue", "dog", "Äpfel und Birnen")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLMETHODS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures") / "data"
    for label, name in enumerate(NAMES):
        for index in range(12):
            size = SHAPES[index % len(SHAPES)]
            picture = noise(*size, 3, seed=10 * label + index) // 2 + 30 * label
            write_png(root / name / f"{index}.png", picture.astype(np.uint8))
        # an orientation tag, gray, CMYK and a palette
        opened = Image.open(root / name / "0.png")
        tag = opened.getexif()
        tag[0x0112] = 6
        opened.save(root / name / "0.jpg", quality=95, exif=tag)
        opened.convert("L").save(root / name / "gray.png")
        opened.convert("CMYK").save(root / name / "cmyk.jpg")
        opened.convert("P").save(root / name / "palette.png")
        opened.convert("RGBA").save(root / name / "alpha.png")
    return root


def run_on(root: Path, method: MethodConfig = LORAC, resize: str = "stretch") -> RunConfig:
    return RunConfig(
        backbone=BackboneConfig(name="nano_vit32", image_size=16),
        stream=StreamConfig(
            dataset="image-folder",
            root=str(root),
            tasks=2,
            task_order=(1, 0),
            resize=resize,  # type: ignore[arg-type]
        ),
        method=method,
        train=TrainConfig(epochs=1, batch_size=8),
    )


@pytest.fixture(scope="module")
def model(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelArchive:
    folder = tmp_path_factory.mktemp("model") / "m"
    return finished(folder, run_on(pictures), [LAST, TAP, INSTANCE])


def files_of(archive: ModelArchive, label: int) -> list[Path]:
    originals = open_run(archive.run)[1].originals((label,), "test")
    return [original.source.files[original.index] for original in originals]


def evaluated(archive: ModelArchive, readout: ReadoutConfig) -> dict[int, tuple[int, int | None]]:
    """Return the numbers of correct classes and of correct tasks by class, as evaluated."""
    last = len(archive.chain) - 1
    counts = chain_evaluator(archive).counts(last, fold(archive.deltas()), [readout])
    rows = counts[readout.readout_id]
    return {r.class_id: (r.correct or 0, r.task_id_correct) for r in rows if r.split == "test"}


def check_against_evaluation(archive: ModelArchive, path: Path, readout: ReadoutConfig) -> None:
    """Compare the predictions of a model directory or an export of `archive`."""
    model = clmethods.load(path, readout=readout.readout_id)
    for label, (correct, task_correct) in evaluated(archive, readout).items():
        files = files_of(archive, label)
        predictions = model.predict(files)
        assert [row.image for row in predictions] == [str(file) for file in files]
        assert sum(row.class_id == label for row in predictions) == correct
        (group,) = (g for g in archive.run.stream.groups() if label in g.classes)
        if readout.infers:
            assert sum(row.task == group.index for row in predictions) == task_correct
        for row in predictions:
            assert row.class_name == NAMES[row.class_id]
            assert row.probability == max(row.probabilities)
            assert sum(row.probabilities) == pytest.approx(1.0)


@pytest.mark.parametrize("readout", [LAST, INSTANCE, TAP], ids=lambda r: r.readout_id)
def test_predictions_equal_the_evaluation(model: ModelArchive, readout: ReadoutConfig) -> None:
    check_against_evaluation(model, model.folder, readout)


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize(
    "method",
    [
        NearestClassMeanConfig(),
        NearestClassMeanConfig(metric="euclid"),
        RanpacConfig(projection=32),
    ],
    ids=["cosine", "euclid", "ranpac"],
)
def test_other_methods_equal_the_evaluation(
    method: MethodConfig, resize: str, pictures: Path, tmp_path: Path
) -> None:
    archive = finished(tmp_path / "m", run_on(pictures, method, resize))
    check_against_evaluation(archive, tmp_path / "m", LAST)


@pytest.mark.parametrize("readout", [LAST, INSTANCE, TAP], ids=lambda r: r.readout_id)
def test_an_export_gives_the_probabilities_of_the_model(
    model: ModelArchive, readout: ReadoutConfig, tmp_path: Path
) -> None:
    export_model(model, tmp_path / "out", ExportOptions(readout=readout, chain=False))
    check_against_evaluation(model, tmp_path / "out", readout)
    files = files_of(model, 1)
    own = clmethods.load(model.folder, readout=readout.readout_id).predict(files)
    theirs = clmethods.load(tmp_path / "out").predict(files)
    for left, right in zip(own, theirs, strict=True):
        assert (left.class_name, left.task) == (right.class_name, right.task)
        assert left.probabilities == pytest.approx(right.probabilities, abs=1e-5)


def test_cosines_have_the_probabilities_of_their_export(pictures: Path, tmp_path: Path) -> None:
    archive = finished(tmp_path / "m", run_on(pictures, NearestClassMeanConfig(), "crop"))
    export_model(archive, tmp_path / "out", ExportOptions(formats=["timm"]))
    files = files_of(archive, 2)
    own = clmethods.load(tmp_path / "m").predict(files)
    theirs = clmethods.load(tmp_path / "out").predict(files)
    for left, right in zip(own, theirs, strict=True):
        assert left.probabilities == pytest.approx(right.probabilities, abs=1e-5)


def test_weights_of_snapshots_that_move_route_as_evaluated(pictures: Path, tmp_path: Path) -> None:
    method = replace(LORAC, module_weights="live", omega_lr_scale=500.0)
    archive = finished(tmp_path / "m", run_on(pictures, method), [INSTANCE])
    check_against_evaluation(archive, tmp_path / "m", INSTANCE)
    export_model(archive, tmp_path / "out", ExportOptions(readout=INSTANCE))
    check_against_evaluation(archive, tmp_path / "out", INSTANCE)


def test_no_training_data_is_needed(model: ModelArchive, pictures: Path, tmp_path: Path) -> None:
    image = shutil.copy(pictures / "dog" / "1.png", tmp_path / "a.png")
    expected = clmethods.load(model.folder).predict(image)[0]
    moved = pictures.rename(pictures.with_name("elsewhere"))
    try:
        assert clmethods.load(model.folder).predict(image)[0] == expected
    finally:
        moved.rename(pictures)


def test_every_kind_of_input_gives_the_same(model: ModelArchive, pictures: Path) -> None:
    loaded = clmethods.load(model.folder)
    path = pictures / "dog" / "1.png"
    picture = Image.open(path)
    array = np.asarray(picture)
    expected = loaded.predict(path)[0].probabilities
    inputs = [str(path), picture, array, torch.from_numpy(array.copy()), array[None]]
    for given in [*inputs, [str(path), picture, array]]:
        for row in loaded.predict(given):
            assert row.probabilities == pytest.approx(expected, abs=1e-6)
    assert [row.image for row in loaded.predict([path, picture])] == [str(path), "image 1"]
    gray = Image.open(path).convert("L")
    assert loaded.predict(np.asarray(gray))[0].probabilities == pytest.approx(
        loaded.predict(gray)[0].probabilities
    )
    turned = Image.open(pictures / "dog" / "0.jpg")
    assert loaded.predict(turned)[0].probabilities == pytest.approx(
        loaded.predict(pictures / "dog" / "0.jpg")[0].probabilities
    )


def test_the_size_of_a_batch_does_not_change_the_classes(
    model: ModelArchive, pictures: Path
) -> None:
    files = sorted(pictures.rglob("*.png"))
    loaded = clmethods.load(model.folder)
    small, large = loaded.predict(files, batch_size=3), loaded.predict(files, batch_size=500)
    assert [(r.image, r.class_id, r.task) for r in small] == [
        (r.image, r.class_id, r.task) for r in large
    ]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (np.zeros((3, 8, 8), np.uint8), "(H, W, 3). Move the channels to the end."),
        (np.zeros((5, 8, 8), np.uint8), "(5, 8, 8), allowed: (H, W) or (H, W, 3). Give several"),
        (np.zeros((8, 8, 4), np.uint8), "Give images with transparency as PIL images."),
        (np.zeros((8, 8, 1), np.uint8), "Remove the last dimension"),
        (np.zeros((2, 3, 8, 8), np.uint8), "2 of 2 images cannot be read"),
        (np.zeros((0, 8), np.uint8), "(0, 8), allowed"),
        (np.zeros((8, 8, 3)), "an array of float64, allowed: uint8"),
        (torch.zeros(8, 8, 3), "an array of float32, allowed: uint8"),
        (np.zeros((8, 8), np.uint16), "an array of uint16, allowed"),
        (np.zeros((8, 8), bool), "an array of bool, allowed"),
        (Image.new("I;16", (8, 8)), "mode I;16: more than eight bits per channel; convert"),
        (["missing.png", 7], "missing.png: the file does not exist"),
        (["missing.png", 7], "image 1: got int, allowed: a path"),
        (7, "images: got int, allowed: a path, a PIL image"),
        (b"abc", "images: got bytes"),
    ],
)
def test_inputs_that_are_no_images_are_refused(
    given: object, part: str, model: ModelArchive
) -> None:
    with pytest.raises(ClmethodsError) as error:
        clmethods.load(model.folder).predict(given)
    assert part in str(error.value)


def test_arguments_are_refused(model: ModelArchive) -> None:
    with pytest.raises(InvalidConfigError, match=r"readout: got 'instance', allowed: one of"):
        clmethods.load(model.folder, readout="instance")
    with pytest.raises(InvalidConfigError, match=r"device: got 'tpu', allowed: one of"):
        clmethods.load(model.folder, device="tpu")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfigError, match="batch_size: got 0"):
        clmethods.load(model.folder).predict([], batch_size=0)
    assert len(clmethods.load(model.folder).predict([])) == 0


def test_loading_changes_no_settings_of_the_process(model: ModelArchive) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    try:
        clmethods.load(model.folder)
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def test_the_csv_file_has_a_fixed_header_and_no_formulas(
    model: ModelArchive, pictures: Path
) -> None:
    files = sorted(pictures.rglob("1.png"))
    predictions = clmethods.load(model.folder).predict(files)
    rows = list(csv.reader(io.StringIO(predictions.to_csv(top=9))))
    assert rows[0] == list(HEADER)
    assert rows[0] == [
        "image",
        "rank",
        "class_id",
        "class_name",
        "probability",
        "task",
        "task_name",
    ]
    assert len(rows) == 1 + 4 * len(files)
    assert {row[3] for row in rows[1:]} == {"Äpfel und Birnen", "blue", "'=cmd", "dog"}
    ranks = [float(row[4]) for row in rows[1:5]]
    assert ranks == sorted(ranks, reverse=True)
    assert [plain_text(t) for t in ("-a", "a-b", "@x", "\tb")] == ["'-a", "a-b", "'@x", "'\tb"]


def test_the_document_is_json(model: ModelArchive, pictures: Path) -> None:
    predictions = clmethods.load(model.folder).predict([pictures / "dog" / "1.png"])
    document = json.loads(json.dumps(predictions.document()))
    assert document["class_names"] == list(NAMES)
    assert document["unreadable"] == []
    assert document["predictions"][0]["class_name"] in NAMES
    assert len(document["predictions"][0]["probabilities"]) == 4


def test_what_is_imported_at_first_use() -> None:
    assert set(clmethods.__all__) <= set(dir(clmethods))
    assert all(getattr(clmethods, name) is not None for name in clmethods.__all__)
    with pytest.raises(AttributeError, match="no attribute 'loads'"):
        _ = clmethods.loads  # type: ignore[attr-defined]
