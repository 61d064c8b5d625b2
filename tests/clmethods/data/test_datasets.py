"""Embedded data: intact or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clmethods.config.facts import DATASETS as FACTS
from clmethods.data import datasets
from clmethods.data.datasets import DATASETS, DatasetError, digits, load, resize

Arrays = dict[str, np.ndarray]


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_dataset_is_what_planning_was_told(name: str) -> None:
    data = load(name, 8)
    assert sorted(set(data.labels.tolist())) == list(range(FACTS[name].classes))
    assert data.images.dtype == np.uint8
    assert len(data.images) == len(data.labels) == len(data.test)
    for label in range(FACTS[name].classes):  # both splits have every class
        assert set(data.test[data.labels == label]) == {True, False}


def test_facts_and_loaders_name_the_same_datasets() -> None:
    assert DATASETS.keys() == FACTS.keys()


def test_the_digits_are_as_described() -> None:
    data = digits()
    assert data.images.shape == (1797, 8, 8)
    assert [int(data.test[data.labels == label].sum()) for label in range(10)] == [40] * 10


def flip_a_pixel(arrays: Arrays) -> None:
    arrays["images"][100, 3, 3] ^= 1


def swap_two_labels(arrays: Arrays) -> None:
    arrays["labels"][[0, 1]] = arrays["labels"][[1, 0]]


def move_an_image_to_the_test_split(arrays: Arrays) -> None:
    arrays["test"][int(np.flatnonzero(~arrays["test"])[0])] = True


def reorder(arrays: Arrays) -> None:
    for name, array in arrays.items():
        arrays[name] = array[::-1]


@pytest.mark.parametrize(
    "damage", [flip_a_pixel, swap_two_labels, move_an_image_to_the_test_split, reorder]
)
def test_damaged_data_is_refused(
    damage: Callable[[Arrays], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that is whole as a file, but whose content is another."""
    source = Path(datasets.__file__).parent / "files" / "digits.npz"
    with np.load(source) as stored:
        arrays = {name: stored[name] for name in stored.files}
    damage(arrays)
    copy = tmp_path / "data" / "files" / "digits.npz"
    copy.parent.mkdir(parents=True)
    np.savez(copy, **arrays)
    monkeypatch.setattr(datasets, "files", lambda _: tmp_path)
    with pytest.raises(DatasetError, match=r"digits\.npz is damaged"):
        digits()


def test_an_intact_copy_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are checked, not the compressed file: another zlib may pack them otherwise."""
    with np.load(Path(datasets.__file__).parent / "files" / "digits.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    copy = tmp_path / "data" / "files" / "digits.npz"
    copy.parent.mkdir(parents=True)
    np.savez(copy, **arrays)
    monkeypatch.setattr(datasets, "files", lambda _: tmp_path)
    assert len(digits().labels) == 1797


def test_images_are_resized_in_bytes() -> None:
    images = digits().images[:5]
    assert resize(images, 8) is images
    larger = resize(images, 16)
    assert larger.shape == (5, 16, 16)
    assert larger.dtype == np.uint8
    flat = np.full((1, 8, 8), 77, dtype=np.uint8)
    assert (resize(flat, 12) == 77).all()
