"""Embedded data: intact or rejected, and consistent with the metadata that planning uses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clmethods.catalog.facts import DATASETS as FACTS
from clmethods.config import StreamConfig
from clmethods.data import embedded
from clmethods.data.datasets import DATASETS, open_images
from clmethods.data.embedded import digits, digits_dil, embedded4
from clmethods.data.image_decoding import fitted
from clmethods.data.source import DatasetError, Pixels, Source
from clmethods.data.streams import TaskStream
from clmethods.user_data.folder_listing import TEST, TRAIN

Arrays = dict[str, np.ndarray]
EMBEDDED = sorted(name for name, facts in FACTS.items() if facts.embedded)


def pictures(source: Source) -> Pixels:
    assert source.read is not None
    return source.read()


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_dataset_matches_the_metadata_of_planning(name: str) -> None:
    stream = StreamConfig(dataset=name)
    data = open_images(stream, 8)
    assert sorted(set(data.labels.tolist())) == list(range(FACTS[name].classes))
    assert data.images.dtype == np.uint8
    assert data.images.shape[1:] == (8, 8)
    assert len(data.images) == len(data.labels) == len(data.source.splits)
    for label in range(FACTS[name].classes):  # both splits have every class
        assert set(data.source.splits[data.labels == label].tolist()) == {TRAIN, TEST}


def test_facts_and_readers_name_the_same_datasets() -> None:
    assert DATASETS.keys() == FACTS.keys()


def test_the_digits_are_as_described() -> None:
    data = digits()
    assert pictures(data).shape == (1797, 8, 8)
    test = data.splits == TEST
    assert [int(test[data.labels == label].sum()) for label in range(10)] == [40] * 10


def test_embedded4_has_ten_classes_of_each_domain() -> None:
    """Four tasks in the natural order are the four domains."""
    data = embedded4()
    assert pictures(data).shape == (1797 + 2500 + 1770, 28, 28)
    train = np.bincount(data.labels[data.splits == TRAIN])
    test = np.bincount(data.labels[data.splits == TEST])
    assert test.tolist() == [40] * 10 + [50] * 10 + [25] * 10 + [12] * 10
    assert train[10:].tolist() == [200] * 10 + [100] * 10 + [40] * 10
    groups = StreamConfig(dataset="embedded4").groups()
    assert [group.classes for group in groups] == [
        tuple(range(start, start + 10)) for start in (0, 10, 20, 30)
    ]


def test_no_picture_of_embedded4_is_in_both_splits() -> None:
    data = embedded4()
    images = pictures(data)
    sides = [{image.tobytes() for image in images[data.splits == side]} for side in (TRAIN, TEST)]
    assert not sides[0] & sides[1]


def test_the_domains_of_the_digits_are_pinned() -> None:
    """Made anew at every start: an arithmetic that drifts would change results silently."""
    images = pictures(digits_dil())
    assert images.shape == (4 * 1797, 16, 16)
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == "52b67918867a124cc81cdc902349ed0398d9a227d0066d103bb00efe9ee60465"


def test_domains_share_their_labels_and_differ_in_every_picture() -> None:
    stream = StreamConfig(dataset="digits-dil")
    tasks = [TaskStream(stream, 16).data_of(group, "train") for group in stream.groups()]
    for one in tasks[1:]:
        assert one.labels.tolist() == tasks[0].labels.tolist()
        different = (one.images != tasks[0].images).flatten(1).any(dim=1)
        assert different.all()
    assert (tasks[1].images == 255 - tasks[0].images).all()  # the same digits on the same side


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
    source = Path(embedded.__file__).parent / "files" / "digits.npz"
    with np.load(source) as stored:
        arrays = {name: stored[name] for name in stored.files}
    damage(arrays)
    copy = tmp_path / "data" / "files" / "digits.npz"
    copy.parent.mkdir(parents=True)
    np.savez(copy, **arrays)
    monkeypatch.setattr(embedded, "files", lambda _: tmp_path)
    with pytest.raises(DatasetError, match=r"digits\.npz is damaged"):
        digits()


def test_an_intact_copy_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are checked, not the compressed file: another zlib may pack them otherwise."""
    with np.load(Path(embedded.__file__).parent / "files" / "digits.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    copy = tmp_path / "data" / "files" / "digits.npz"
    copy.parent.mkdir(parents=True)
    np.savez(copy, **arrays)
    monkeypatch.setattr(embedded, "files", lambda _: tmp_path)
    assert len(digits().labels) == 1797


def test_images_are_resized_in_bytes() -> None:
    images = pictures(digits())[:5]
    assert fitted(images, 8, "stretch") is images
    larger = fitted(images, 16, "stretch")
    assert larger.shape == (5, 16, 16)
    assert larger.dtype == np.uint8
    flat = np.full((1, 8, 8), 77, dtype=np.uint8)
    assert (fitted(flat, 12, "stretch") == 77).all()


LONG_ROOTS = ("x" * 5000, "a/" * 3000)
REQUIRED = sorted(name for name, facts in FACTS.items() if not facts.embedded)


@pytest.mark.parametrize("root", LONG_ROOTS, ids=["name", "path"])
@pytest.mark.parametrize("name", REQUIRED)
def test_a_root_that_the_system_does_not_open_is_refused(name: str, root: str) -> None:
    with pytest.raises(
        DatasetError, match=r"are required|File name too long\. Check stream\.root"
    ):
        open_images(StreamConfig(dataset=name, root=root), 8)
