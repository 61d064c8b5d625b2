"""Classes that a validation fraction would leave without training images, refused in planning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clmethods.catalog.facts import DatasetFacts
from clmethods.config import InvalidConfigError, StreamConfig
from clmethods.config.split_counts import without_training
from clmethods.data.source import Source
from clmethods.data.splits import drawn_splits
from clmethods.user_data.folder_listing import OPEN, TRAIN, Listing
from tests.clmethods.data.files import write_folder
from tests.clmethods.user_data.folders import picture


def planned(root: Path, fraction: float, **fields: str) -> StreamConfig:
    return StreamConfig(
        dataset="image-folder", root=str(root), validation_fraction=fraction, **fields
    )


@pytest.mark.parametrize("fraction", [0.0, 0.15, 0.5, 0.51, 0.7, 0.9, 0.95, 0.999])
def test_the_classes_are_those_that_the_split_empties(fraction: float) -> None:
    each = list(range(1, 40))
    labels = [label for label, count in enumerate(each) for _ in range(count)]
    listing = Listing(
        base=Path("nowhere"),
        classes=tuple(map(str, range(len(each)))),
        paths=tuple(map(str, range(len(labels)))),
        labels=tuple(labels),
        splits=(OPEN,) * len(labels),
        version="x",
    )
    record = DatasetFacts(version="x", classes=len(each), tasks=1, seeded_split=True)
    stream = StreamConfig(
        dataset="image-folder", root="nowhere", record=record, validation_fraction=fraction
    )
    source = Source(labels=np.array(labels, np.int64), splits=np.full(len(labels), OPEN, np.int8))
    left = np.array(labels)[drawn_splits(stream, source) == TRAIN]
    empty = [str(label) for label in range(len(each)) if label not in left]
    assert [name for name, _ in without_training(listing, None, fraction)] == empty
    assert bool(empty) is (fraction > 0.5)


def test_a_fraction_that_leaves_no_training_image_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, 3, 10)
    for index in range(5, 10):
        (tmp_path / "class02" / f"{index:02d}.png").unlink()
    with pytest.raises(InvalidConfigError) as found:
        planned(tmp_path, 0.9)
    (issue,) = map(str, found.value.issues)
    assert issue.startswith("validation_fraction: got 0.9, allowed: a fraction that leaves ")
    assert issue.endswith("would be held out: 'class02' has 4.")
    with pytest.raises(InvalidConfigError, match="'class00' has 8, 'class01' has 8, 'class02' "):
        planned(tmp_path, 0.999)
    assert planned(tmp_path, 0.7).validation_fraction == 0.7


def test_of_many_classes_the_first_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, 13, 3)
    with pytest.raises(InvalidConfigError, match="'class09' has 2, and 3 more classes"):
        planned(tmp_path, 0.999)


def test_test_images_of_a_split_file_are_not_counted(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 2, 5)
    listed = tmp_path / "test.txt"
    listed.write_text("class00/00.png\nclass01/00.png\nclass01/01.png\nclass01/02.png\n")
    with pytest.raises(InvalidConfigError, match=r"would be held out: 'class01' has 2\."):
        planned(tmp_path / "x", 0.8, split_file=str(listed))


def test_given_splits_and_tasks_are_counted_apart(tmp_path: Path) -> None:
    rows = [
        f"{task}{i},cat,train,{task}" for task, n in (("day", 9), ("dusk", 2)) for i in range(n)
    ]
    rows += [f"{task}t,cat,test,{task}" for task in ("day", "dusk")]
    for row in rows:
        name = row.partition(",")[0]
        (tmp_path / name).write_bytes(picture(name))
    (tmp_path / "m.csv").write_text("path,label,split,task\n" + "\n".join(rows))
    with pytest.raises(InvalidConfigError, match=r"held out: 'cat of task dusk' has 2\."):
        StreamConfig(dataset="manifest", manifest=str(tmp_path / "m.csv"), validation_fraction=0.8)
