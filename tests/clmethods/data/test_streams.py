"""Splits: disjoint, complete, and independent of order and seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import StreamConfig
from clmethods.data.source import DatasetError
from clmethods.data.streams import Split, TaskStream
from tests.clmethods.runs import tiny_run, train
from tests.strategies import streams

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
EVERYTHING = tuple(range(10))


def members(
    stream: StreamConfig, split: Split, classes: tuple[int, ...] = EVERYTHING
) -> list[bytes]:
    """The images as bytes; no two digits of one class are alike."""
    data = TaskStream(stream, 8).data(classes, split)
    labels = data.labels.tolist()
    images = data.images.numpy()
    return [bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True)]


@settings(max_examples=20)
@given(st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.15, 0.5]))
def test_the_splits_are_disjoint_and_complete(seed: int, fraction: float) -> None:
    stream = StreamConfig(split_seed=seed, validation_fraction=fraction)
    found = {split: set(members(stream, split)) for split in SPLITS}
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 1797
    assert len(found["test"]) == 400
    share = len(found["validation"]) / (1797 - 400)
    assert share == pytest.approx(fraction, abs=0.01)


def test_the_test_split_is_fixed_and_the_validation_split_seeded() -> None:
    one, two = StreamConfig(split_seed=1), StreamConfig(split_seed=2)
    assert members(one, "test") == members(two, "test")
    assert members(one, "validation") != members(two, "validation")
    assert members(one, "validation") == members(StreamConfig(split_seed=1), "validation")


@settings(max_examples=20)
@given(streams(), st.sampled_from(SPLITS))
def test_i43_a_class_has_the_same_images_in_every_stream(
    stream: StreamConfig, split: Split
) -> None:
    """Whatever the tasks, their classes and their order."""
    other = StreamConfig(
        tasks=10,
        split_seed=stream.split_seed,
        validation_fraction=stream.validation_fraction,
        limit=stream.limit,
    )
    for group in stream.groups():
        together = members(stream, split, group.classes)
        one_by_one = [m for c in group.classes for m in members(other, split, (c,))]
        assert together == one_by_one


def test_i43_the_runs_seed_changes_neither_classes_nor_split() -> None:
    one, two = train(tiny_run(seed=1), until=0), train(tiny_run(seed=2), until=0)
    assert [stage.groups for stage in one.chain] == [stage.groups for stage in two.chain]
    for split in SPLITS:
        assert torch.equal(one.data(split=split).images, two.data(split=split).images)


@pytest.mark.parametrize("split", SPLITS)
def test_the_limit_takes_the_first_of_each_class(split: Split) -> None:
    unlimited, limited = StreamConfig(), StreamConfig(limit=3)
    for label in EVERYTHING:
        found = members(limited, split, (label,))
        assert found == members(unlimited, split, (label,))[:3]


def test_classes_come_in_ascending_order_however_they_are_asked_for() -> None:
    stream = TaskStream(StreamConfig(limit=2), 8)
    assert stream.data((7, 1), "train").labels.tolist() == [1, 1, 7, 7]
    assert stream.data((7, 1), "train").images.dtype == torch.uint8


def test_a_class_without_images_is_refused() -> None:
    nothing_held_out = StreamConfig(validation_fraction=0.001)
    with pytest.raises(DatasetError, match="class 0 has no images in validation"):
        TaskStream(nothing_held_out, 8).data((0,), "validation")
    nothing_left = StreamConfig(validation_fraction=0.999)
    with pytest.raises(DatasetError, match="class 0 has no images in train"):
        TaskStream(nothing_left, 8).data((0,), "train")
    none = replace(nothing_held_out, validation_fraction=0.0)
    assert len(TaskStream(none, 8).data((0,), "validation")) == 0
