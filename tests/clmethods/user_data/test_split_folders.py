"""Split folders: usual spellings are used, folders that only look like a split are refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from clmethods.data.streams import TaskStream
from clmethods.user_data.folder_listing import OPEN, TEST, TRAIN, VALIDATION, fingerprint_of
from tests.clmethods.user_data.folders import (
    CLASSES,
    listed,
    refusals,
    stream,
    write_class,
    write_classes,
)

WIDE_TRAIN = "".join(chr(ord(letter) + 0xFEE0) for letter in "TRAIN")
"""TRAIN in the full-width letters of East Asian fonts."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("train", "test"), ("Train", "Test"), ("training", "testing"), ("TRAIN", "eval")),
        *(("train", "val"), ("train", "valid"), ("Training", "Validation")),
    ],
)
def test_usual_spellings_of_two_splits(train: str, test: str, tmp_path: Path) -> None:
    write_classes(tmp_path / train, each=4)
    write_classes(tmp_path / test, each=2)
    listing = listed(tmp_path)
    assert listing.classes == CLASSES
    assert Counter(listing.splits) == {TRAIN: 16, TEST: 8}
    noted = [note for note in listing.notes if "is used as the test split" in note]
    assert len(noted) == (0 if test.lower() in {"test", "testing", "eval"} else 1)


def files_version(root: Path) -> str:
    """Return the version that earlier versions gave to the image files below a folder."""
    paths = list(root.rglob("*.png"))
    return fingerprint_of((p.relative_to(root).as_posix(), p.stat().st_size) for p in paths)


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val")])
def test_splits_of_earlier_versions_keep_their_data_version(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    for name in names:
        write_classes(tmp_path / name)
    assert listed(tmp_path).version == files_version(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        *(("Train", "Test"), ("train", "Test"), ("train", "Val"), ("training", "test")),
        *(("train", "valid"), ("train", "val", "test"), ("TRAIN", "eval")),
    ],
)
def test_splits_that_were_read_as_classes_have_another_data_version(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    """Stored stages of the classes `Train` and `Test` must not be used for the splits."""
    for name in names:
        write_classes(tmp_path / name)
    assert listed(tmp_path).version != files_version(tmp_path)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "Evaluation")])
def test_three_splits_are_used_and_validation_is_validation(
    names: tuple[str, str, str], tmp_path: Path
) -> None:
    for name, each in zip(names, (5, 2, 3), strict=True):
        write_classes(tmp_path / name, each=each)
    assert Counter(listed(tmp_path).splits) == {TRAIN: 20, VALIDATION: 8, TEST: 12}
    config = stream(tmp_path)
    assert config.facts.given_validation
    images = TaskStream(config, 8)
    every = tuple(range(4))
    sizes = [len(images.data(every, split)) for split in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert sizes == [20, 8, 12]


def test_a_class_without_validation_images_is_named(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write_classes(tmp_path / name, CLASSES[: 3 if name == "val" else 4])
    (issue,) = refusals(tmp_path)
    assert "validation images for every class. Class 'fox' has none." in issue


@pytest.mark.parametrize("name", ["valid", "test", "train", "Val"])
def test_a_class_that_is_spelled_like_a_split_stays_a_class(name: str, tmp_path: Path) -> None:
    write_classes(tmp_path, ("bus", name, "plane"))
    listing = listed(tmp_path)
    assert listing.classes == tuple(sorted(("bus", name, "plane")))
    assert set(listing.splits) == {OPEN}


@pytest.mark.parametrize(
    ("splits", "remedy"),
    [
        (("train",), "to split its images by split_seed, or add the folder test."),
        (("Test",), "to split its images by split_seed, or add the folder train."),
        (("val", "test"), "'test', 'val' look like splits. Add the folder train."),
        (("train", "Train", "test"), "'Train', 'train' mean the same split: merge them"),
        (("train", "val", "valid"), "'val', 'valid' mean the same split: merge them"),
    ],
)
def test_splits_that_cannot_be_used_are_refused_with_the_remedy(
    splits: tuple[str, ...], remedy: str, tmp_path: Path
) -> None:
    for name in splits:
        write_classes(tmp_path / name)
    (issue,) = refusals(tmp_path)
    assert remedy in issue


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("training_set", "test_set"), ("train2017", "val2017"), ("seg_train", "seg_test")),
        *(("train_images", "test_images"), ("Training Data", "Testing Data"), ("train", "test1")),
        *(("trainset", "testset"), ("Training-Data", "Testing-Data"), ("my-train", "my-eval")),
        *((WIDE_TRAIN, "test"), ("train ", "test"), ("trainval", "test"), ("train", "val_set")),
    ],
)
def test_other_names_of_splits_are_refused_and_not_read_as_classes(
    train: str, test: str, tmp_path: Path
) -> None:
    for name in (train, test):
        write_classes(tmp_path / name)
    (issue,) = refusals(tmp_path)
    assert repr(train) in issue
    assert repr(test) in issue
    assert "look like splits: rename them to train and test (optionally val)." in issue


@pytest.mark.parametrize(
    "names",
    [
        *(("train station", "test bench"), ("train_images", "test_images"), ("cat", "dog")),
        *(("trainer", "tester"), ("train2017", "cat"), ("valley", "training_set")),
    ],
)
@pytest.mark.parametrize("nested", [0, 1])
def test_classes_whose_names_contain_such_words_stay_classes(
    names: tuple[str, str], nested: int, tmp_path: Path
) -> None:
    """Images in one of two folders show that it is a class, as does a name without a partner."""
    write_classes(tmp_path, names)
    listing = listed(tmp_path)
    assert listing.classes == tuple(sorted(names))
    shutil.rmtree(tmp_path / names[nested])
    write_class(tmp_path / names[nested] / "a", 3)
    assert listed(tmp_path).classes == tuple(sorted(names))


def test_an_image_beside_the_class_folders_does_not_make_classes_of_splits(
    tmp_path: Path,
) -> None:
    for name in ("train", "test"):
        write_classes(tmp_path / name)
    write_class(tmp_path / "unlabeled", 3)
    write_class(tmp_path / "train", 7, each=1)
    (issue,) = refusals(tmp_path)
    assert "'test', 'train' look like splits, but 'train' contains images beside the" in issue


def test_splits_without_class_folders_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path, ("train", "test"))
    (issue,) = refusals(tmp_path)
    assert "Put a folder per class into each of them." in issue


@pytest.mark.parametrize("splits", [("train", "test"), ("train",), ("valid",)])
def test_classes_beside_splits_are_refused(splits: tuple[str, ...], tmp_path: Path) -> None:
    for name in splits:
        write_classes(tmp_path / name)
    write_classes(tmp_path, ("cat", "dog"))
    (issue,) = refusals(tmp_path)
    assert "'cat', 'dog'" in issue
    assert "elsewhere" in issue


def test_folders_without_labels_beside_splits_are_ignored_and_said(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_classes(tmp_path / name)
    before = listed(tmp_path).version
    write_class(tmp_path / "unlabeled", 3)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "boxes.xml").write_text("<a/>")
    listing = listed(tmp_path)
    assert listing.version == before
    assert listing.ignored_folders == ("annotations", "unlabeled")


def test_a_folder_around_the_data_is_not_a_class(tmp_path: Path) -> None:
    write_classes(tmp_path / "dataset")
    (issue,) = refusals(tmp_path)
    assert "'dataset' is the only folder, and contains folders: set root to it." in issue
