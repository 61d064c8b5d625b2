"""Random crops of the training images: what they see, and who never sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clmethods.config import (
    LoraSequentialConfig,
    NearestClassMeanConfig,
    StreamConfig,
    stage_chain,
)
from clmethods.config.methods import MethodConfig
from clmethods.methods import State
from clmethods.training.stage import run_stage
from tests.clmethods.data.files import noise
from tests.clmethods.runs import differences, tiny_run


def bitmaps(root: Path, margin: int) -> StreamConfig:
    """Pictures of 9 x 9 pixels, the side at which a stream for 8 keeps them: no compression, so
    that all files are of one size, and the last row and column lie outside the centre."""
    for label in range(2):
        for index in range(4):
            picture = noise(9, 9, 3, seed=10 * label + index)
            picture[8, :], picture[:, 8] = margin, margin
            path = root / str(label) / f"{index}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(picture)).save(path)
    return StreamConfig(dataset="image-folder", root=str(root), tasks=1, validation_fraction=0.0)


def delta(method: MethodConfig, stream: StreamConfig, augment: str) -> State:
    run = tiny_run(method, stream, augment=augment)
    return run_stage(run, stage_chain(run)[0], {}).delta


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_crops_are_cut_from_the_whole_picture_and_statistics_from_its_centre(
    augment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))
    dark, light = (bitmaps(tmp_path / str(margin), margin) for margin in (0, 255))
    assert dark.facts == light.facts
    trained = [delta(LoraSequentialConfig(rank=2), s, augment) for s in (dark, light)]
    assert bool(differences(*trained)) == (augment != "none")
    means = [delta(NearestClassMeanConfig(), s, augment) for s in (dark, light)]
    assert differences(*means) == []
