"""The embedded benchmark: 100 characters, 40 + 12 images each, no picture in both splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clmethods.config import StreamConfig
from clmethods.data import embedded
from clmethods.data.embedded import glyph100
from clmethods.data.source import DatasetError, Pixels
from clmethods.data.streams import TaskStream
from clmethods.user_data.folder_listing import TEST

STREAM = StreamConfig(dataset="glyph100", tasks=10)


def pictures() -> Pixels:
    read = glyph100().read
    assert read is not None
    return read()


def test_every_class_has_40_training_and_12_test_images() -> None:
    data, images = glyph100(), pictures()
    assert images.shape == (5200, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(data.labels[data.splits != TEST]).tolist() == [40] * 100
    assert np.bincount(data.labels[data.splits == TEST]).tolist() == [12] * 100


def test_all_pictures_differ_and_so_do_those_of_the_two_splits() -> None:
    assert len({image.tobytes() for image in pictures()}) == 5200


def test_every_glyph_is_whole_and_centred() -> None:
    """Nothing cut off at the border, nothing empty, the longer side 25 of 28 pixels or so."""
    images = pictures()
    assert images.max(axis=(1, 2)).min() >= 128
    ink = images > 8
    for image in ink:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        heights, widths = (rows[0], rows[-1]), (columns[0], columns[-1])
        assert 24 <= 1 + max(heights[1] - heights[0], widths[1] - widths[0]) <= 26
        assert abs(sum(heights) - 27) <= 2
        assert abs(sum(widths) - 27) <= 2


def test_ten_tasks_of_ten_classes() -> None:
    stream = TaskStream(STREAM, 16)
    groups = STREAM.groups()
    assert [group.classes for group in groups[:2]] == [tuple(range(10)), tuple(range(10, 20))]
    for group in groups:
        sizes = {split: len(stream.data(group.classes, split)) for split in ("train", "test")}
        assert sizes == {"train": 10 * 34, "test": 10 * 12}
        assert len(stream.data(group.classes, "validation")) == 10 * 6


def test_damage_is_reported_with_the_file_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(embedded.__file__).parent / "files" / "glyph100.npz"
    with np.load(source) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["images"][0, 14, 14] ^= 1
    copy = tmp_path / "data" / "files" / "glyph100.npz"
    copy.parent.mkdir(parents=True)
    np.savez(copy, **arrays)
    monkeypatch.setattr(embedded, "files", lambda _: tmp_path)
    with pytest.raises(DatasetError, match=r"glyph100\.npz is damaged.*reinstall"):
        glyph100()
