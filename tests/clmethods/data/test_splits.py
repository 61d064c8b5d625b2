"""Drawn splits: by class, by list, by whole groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.catalog.facts import DatasetFacts
from clmethods.config import StreamConfig
from clmethods.config.resolve import resolve_stream
from clmethods.data.source import DatasetError, Source
from clmethods.data.splits import drawn_splits
from clmethods.data.streams import TaskStream
from clmethods.user_data.folder_listing import OPEN, TEST, TRAIN, VALIDATION
from tests.clmethods.data.files import noise, write_folder, write_png


def stream_of(classes: int, **fields: object) -> StreamConfig:
    """A stream over data of one's own that is given in memory."""
    record = DatasetFacts(version="x", classes=classes, tasks=1, seeded_split=True)
    return StreamConfig(dataset="image-folder", root="nowhere", record=record, **fields)  # type: ignore[arg-type]


def open_source(labels: list[int], groups: tuple[str, ...] = ()) -> Source:
    return Source(
        labels=np.array(labels, np.int64),
        splits=np.full(len(labels), OPEN, np.int8),
        groups=groups,
    )


def test_a_fifth_of_every_class_is_test_and_the_seed_says_which() -> None:
    source = open_source([0] * 50 + [1] * 10)
    found = [drawn_splits(stream_of(2, split_seed=seed), source) for seed in (0, 0, 1)]
    for splits in found:
        assert np.bincount(splits[:50], minlength=3).tolist() == [34, 6, 10]
        assert np.bincount(splits[50:], minlength=3).tolist() == [7, 1, 2]
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=4, max_size=60),
    st.integers(0, 5),
)
def test_groups_are_never_torn_apart(rows: list[tuple[int, int]], seed: int) -> None:
    labels, groups = [label for label, _ in rows], tuple(f"g{group}" for _, group in rows)
    splits = drawn_splits(stream_of(4, split_seed=seed), open_source(labels, groups))
    assert set(splits.tolist()) <= {TRAIN, VALIDATION, TEST}
    sides = set(zip(groups, splits.tolist(), strict=True))
    assert len(sides) == len(set(groups))
    for label in set(labels):  # what is left can always be trained on
        mine = [s for s, own in zip(splits.tolist(), labels, strict=True) if own == label]
        assert TRAIN in mine


def test_groups_come_close_to_the_share_that_was_asked_for() -> None:
    labels = [label for label in range(5) for _ in range(100)]
    groups = tuple(f"{label}-{i // 5}" for label in range(5) for i in range(100))
    splits = drawn_splits(stream_of(5, validation_fraction=0.25), open_source(labels, groups))
    for label in range(5):
        counts = np.bincount(splits[100 * label : 100 * label + 100], minlength=3)
        assert counts.tolist() == [60, 20, 20]


def test_the_images_of_a_task_are_as_the_manifest_says(tmp_path: Path) -> None:
    rows = ["path,label,task,split,group"]
    for label in range(4):
        for index in range(6):
            write_png(tmp_path / f"{label}{index}.png", noise(8, 8, 3, seed=10 * label + index))
            split = ("train", "train", "train", "train", "validation", "test")[index]
            rows.append(f"{label}{index}.png,{label},{'odd' if label % 2 else 'even'},{split},")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    stream = StreamConfig(dataset="manifest", manifest=str(tmp_path / "m.csv"), resize="stretch")
    opened = TaskStream(stream, 8)
    even, odd = stream.groups()
    assert opened.data_of(even, "train").labels.tolist() == [0] * 4 + [2] * 4
    assert opened.data_of(odd, "validation").labels.tolist() == [1, 3]
    assert (opened.data_of(odd, "test").images[1].numpy() == noise(8, 8, 3, seed=35)).all()


def test_a_class_that_comes_back_has_images_of_its_own_in_every_task(tmp_path: Path) -> None:
    rows = ["path,label,task,split"]
    for index, (task, split) in enumerate(
        (t, s) for t in ("day", "night") for s in ("train", "train", "test")
    ):
        write_png(tmp_path / f"{index}.png", noise(8, 8, 3, seed=index))
        rows.append(f"{index}.png,cat,{task},{split}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    stream = StreamConfig(
        dataset="manifest", manifest=str(tmp_path / "m.csv"), validation_fraction=0.0
    )
    opened = TaskStream(stream, 8)
    day, night = stream.groups()
    assert len(opened.data_of(day, "train")) == len(opened.data_of(night, "train")) == 2
    both = opened.data_of_all((night, day), "train")
    assert (both.images[:2] == opened.data_of(day, "train").images).all()
    assert len(opened.data((0,), "test")) == 2
    assert opened.places_of(night, "test").tolist() == [5]


def test_a_list_says_which_images_test(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 2, 4)
    listed = tmp_path / "test.txt"
    listed.write_text("class01/02.png\nclass00/00.png\n\n")
    stream = StreamConfig(
        dataset="image-folder",
        root=str(tmp_path / "x"),
        split_file=str(listed),
        validation_fraction=0.0,
    )
    opened = TaskStream(stream, 8)
    assert [opened.places((label,), "test").tolist() for label in (0, 1)] == [[0], [6]]
    assert opened.places((0,), "train").tolist() == [1, 2, 3]
    listed.write_text("class01/02.png\nclass09/00.png\n")
    with pytest.raises(DatasetError, match=r"lists 1 images that are not in .*: class09/00\.png"):
        TaskStream(stream, 8)


def test_a_list_in_another_order_is_the_same_split(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 2, 4)
    effects = []
    one, two = "class00/00.png", "class01/02.png"
    for text in (f"{two}\n{one}", f"{one}\n{two}\n", one):
        (tmp_path / "test.txt").write_text(text)
        stream = StreamConfig(
            dataset="image-folder", root=str(tmp_path / "x"), split_file=str(tmp_path / "test.txt")
        )
        effects.append(stream.effect())
    assert effects[0] == effects[1]
    assert effects[0] != effects[2]


def test_changed_data_is_refused_before_training(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 2, 4)
    stream = StreamConfig(
        dataset="image-folder", root=str(tmp_path / "x"), validation_fraction=0.0
    )
    planned = resolve_stream(stream)
    TaskStream(planned, 8)
    write_png(tmp_path / "x" / "class00" / "more.png", noise(8, 8, 3))
    with pytest.raises(DatasetError, match="have changed since the run was planned"):
        TaskStream(planned, 8)


def test_a_drawn_test_split_changes_the_keys_even_if_nothing_is_held_out() -> None:
    """Of a given split the seed changes nothing, and then it is not."""
    drawn = [stream_of(2, split_seed=seed, validation_fraction=0.0).effect() for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    given = [StreamConfig(split_seed=seed, validation_fraction=0.0).effect() for seed in (0, 1)]
    assert given[0] == given[1]
