"""Image files through the preprocessing of an export, compared with training and evaluation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import timm.data
import torch
from PIL import Image

from clmethods.config import (
    BackboneConfig,
    NearestClassMeanConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
)
from clmethods.data.image_decoding import Resize, center_crop, fit, stored_side
from clmethods.determinism import open_run
from clmethods.evaluate import Evaluator
from clmethods.export import ExportedModel, ExportOptions, export_model
from clmethods.export.preprocess import open_image, preprocess
from clmethods.export.timm_folder import resize_settings
from tests.clmethods.data.files import noise, write_png
from tests.clmethods.models import finished

SHAPES = [(48, 96), (37, 53), (50, 31), (12, 40), (9, 7)]
"""Heights and widths; timm's rounding differs from that of training in the second and third."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))


def pictures(root: Path, shapes: list[tuple[int, int]]) -> Path:
    for label in range(4):
        for index in range(10):
            size = shapes[index % len(shapes)]
            picture = noise(*size, 3, seed=10 * label + index) // 2 + 30 * label
            write_png(root / f"class{label}" / f"{index}.png", picture.astype(np.uint8))
    return root


def run_on(root: Path, resize: Resize, size: int) -> RunConfig:
    return RunConfig(
        backbone=BackboneConfig(name="nano_vit32", image_size=size),
        stream=StreamConfig(dataset="image-folder", root=str(root), tasks=2, resize=resize),
        method=NearestClassMeanConfig(),
        train=TrainConfig(epochs=1),
    )


@pytest.mark.parametrize("size", [8, 16, 28, 32, 48])
@pytest.mark.parametrize("resize", ["stretch", "crop"])
def test_the_exported_code_gives_the_pixels_of_training(resize: Resize, size: int) -> None:
    config = {
        "preprocessing": {
            "resize": resize,
            "stored_size": stored_side(size, resize),
            "image_size": size,
        },
        "pretrained_cfg": {"mean": [0.0] * 3, "std": [1.0] * 3},
    }
    for height, width in [*SHAPES, *((61, side) for side in range(50, 75))]:
        image = Image.fromarray(noise(height, width, 3))
        stored = fit(image, stored_side(size, resize), resize)
        expected = center_crop(stored[None], resize)[0]
        actual = (preprocess(image, config) * 255.0).round().permute(1, 2, 0).numpy()
        assert np.array_equal(actual, expected), (height, width)


def test_timm_resizes_the_shorter_side_to_that_of_training() -> None:
    for size in range(4, 1025):
        settings = resize_settings("crop", size)
        assert int(size / settings["crop_pct"]) == stored_side(size, "crop"), size
    assert resize_settings("crop", 224)["crop_pct"] == 0.875


@pytest.mark.parametrize(
    ("resize", "size", "shapes"),
    [
        ("stretch", 16, SHAPES),
        ("stretch", 32, SHAPES),
        ("crop", 16, [(48, 96), (40, 40)]),  # timm's rounding does not matter
        ("crop", 32, SHAPES),
    ],
)
@torch.no_grad()
def test_predictions_from_files_equal_those_of_the_evaluation(
    resize: Resize, size: int, shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    run = run_on(pictures(tmp_path / "data", shapes), resize, size)
    archive = finished(tmp_path / "model", run)
    out = tmp_path / "out"
    document = export_model(archive, out, ExportOptions(formats=["timm"]))
    state = {name: tensor for delta in archive.deltas() for name, tensor in delta.items()}
    counts = Evaluator(archive.run, archive.chain).counts(1, state, archive.metrics().readouts)
    expected = {r.class_id: r.correct for r in counts["last"] if r.split == "test"}

    model = timm.create_model(f"local-dir:{out / 'timm'}", pretrained=True).eval()
    transform: Any = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    config = json.loads((out / "timm" / "config.json").read_text())
    stream = open_run(archive.run)[1]
    by_timm: dict[int, int] = {}
    for label in range(4):
        files = [
            original.source.files[original.index]
            for original in stream.originals((label,), "test")
        ]
        images = [open_image(file) for file in files]
        exact = model(torch.stack([preprocess(image, config) for image in images]))
        assert int((exact.argmax(dim=1) == label).sum()) == expected[label]
        own = ExportedModel.load(out).scores(stream.data((label,), "test").images)
        torch.testing.assert_close(exact, own, atol=1e-5, rtol=0)
        shown = model(torch.stack([transform(image) for image in images]))
        by_timm[label] = int((shown.argmax(dim=1) == label).sum())
        if shapes is not SHAPES or resize == "stretch":
            torch.testing.assert_close(shown, own, atol=1e-5, rtol=0)
    checks = document["checks"]
    images_checked = checks["preprocess.py"]["images"]
    assert checks["preprocess.py"] == {
        "images": images_checked,
        "equal": images_checked,
        "pixel_difference": 0.0,
    }
    differs = checks["timm transform"]["pixel_difference"] > 0
    assert differs == (resize == "crop" and shapes is SHAPES)
    if not differs:
        assert by_timm == expected


def test_the_card_has_the_figures_and_code_that_runs(tmp_path: Path) -> None:
    root = pictures(tmp_path / "data", SHAPES)
    archive = finished(tmp_path / "model", run_on(root, "crop", 16))
    out = tmp_path / "out"
    checks = export_model(archive, out, ExportOptions(formats=["timm"]))["checks"]
    card = (out / "README.md").read_text()
    for name in ("timm transform", "preprocess.py"):
        figures = checks[name]
        assert f"with {name}, {figures['equal']} of {figures['images']} predictions" in card
        assert f"a pixel differs by {figures['pixel_difference']:g} of 255" in card
    blocks = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    (code,) = (block for block in blocks if "open_image" in block)
    Image.open(root / "class1" / "1.png").save(out / "photo.jpg", quality=95)
    (out / "try.py").write_text(f"{code}\nprint(list(batch.shape))\n")
    done = subprocess.run(
        [sys.executable, "try.py"], cwd=out, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[1, 3, 16, 16]"


def test_small_originals_are_enlarged_by_the_export(tmp_path: Path) -> None:
    """Datasets that are read as arrays keep their size until they enter the network."""
    from tests.clmethods.data.files import write_idx

    write_idx(tmp_path / "data", each=6)
    run = RunConfig(
        backbone=BackboneConfig(name="nano_vit32", image_size=32),
        stream=StreamConfig(dataset="idx", root=str(tmp_path / "data"), tasks=2),
        method=NearestClassMeanConfig(),
        train=TrainConfig(epochs=1),
    )
    archive = finished(tmp_path / "model", run)
    document = export_model(archive, tmp_path / "out", ExportOptions(formats=["timm"]))
    assert document["checks"]["timm"]["logit_difference"] < 1e-5
    assert document["checks"]["timm transform"]["pixel_difference"] < 1
