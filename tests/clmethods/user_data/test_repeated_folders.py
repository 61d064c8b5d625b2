"""Images of a folder that occur twice: links to folders, links to files, and copies."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from clmethods.user_data.file_records import FileRecords
from tests.clmethods.user_data.folders import CLASSES, listed, refusals, write_class, write_classes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with the splits `train` and `test`."""
    root = tmp_path / "x"
    for side in ("train", "test"):
        write_classes(root / side)
    return root


@pytest.mark.parametrize(
    ("link", "target"),
    [
        *(("test/cat/more", "train/cat"), ("train/dog/more", "test/dog")),
        *(("train/ant", "train/cat"), ("train/cat/more", "train/emu")),
    ],
)
def test_a_link_to_a_folder_that_is_read_is_named(link: str, target: str, root: Path) -> None:
    """The link is named, even if it precedes the folder in the order of names."""
    (root / link).symlink_to(root / target)
    issues = refusals(root)
    assert f"x/{link}', allowed: a file or folder to read. The link leads to" in issues[0]
    assert f"the folder '{target}', which is read too: remove it." in issues[0]
    assert not [issue for issue in issues[1:] if "Class 'ant' has none" not in issue]


def test_a_link_to_a_folder_of_the_same_class_is_named(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    write_class(root / "cat" / "young", 90)
    (root / "cat" / "again").symlink_to(root / "cat" / "young")
    (issue,) = refusals(root)
    assert "x/cat/again'" in issue
    assert "'cat/young', which is read too" in issue


@pytest.mark.parametrize(("link", "target"), [("test", "train"), ("train", "test")])
def test_a_split_that_is_a_link_to_another_one_is_named_once(
    link: str, target: str, root: Path
) -> None:
    shutil.rmtree(root / link)
    (root / link).symlink_to(root / target)
    (issue,) = refusals(root)
    assert f"x/{link}'" in issue
    assert f"the folder '{target}', which is read too" in issue


def test_folders_that_link_to_each_other_are_read_in_little_time(tmp_path: Path) -> None:
    """Following every sequence of links would take years."""
    root = tmp_path / "x"
    names = [f"class{index:02d}" for index in range(30)]
    write_classes(root, tuple(names), 1)
    for name in names:
        for other in names:
            if other != name:
                (root / name / f"to_{other}").symlink_to(root / other)
    started = time.monotonic()
    issues = refusals(root)
    assert time.monotonic() - started < 20
    assert "The link leads to" in issues[0]


def test_links_to_folders_elsewhere_are_read_also_below_a_linked_root(tmp_path: Path) -> None:
    write_classes(tmp_path / "store")
    (tmp_path / "x").mkdir()
    for name in CLASSES:
        (tmp_path / "x" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "y").symlink_to(tmp_path / "x")
    assert listed(tmp_path / "y").classes == CLASSES


@pytest.mark.parametrize("linked", [os.link, os.symlink])
@pytest.mark.parametrize(
    ("first", "second", "unit"),
    [
        *(("train/cat/000.png", "test/cat/9.png", "split"),),
        *(("train/cat/000.png", "test/dog/9.png", "class"),),
        *(("train/cat/000.png", "train/dog/9.png", "class"),),
    ],
)
def test_a_file_in_two_splits_or_classes_is_named(
    first: str, second: str, unit: str, linked: object, root: Path
) -> None:
    linked(root / first, root / second)  # type: ignore[operator]
    (issue,) = refusals(root)
    assert f"x/{second}', allowed: an image in one {unit} only." in issue
    assert f"It is the same file as '{first}': remove one of them." in issue


@pytest.mark.parametrize("linked", [os.link, os.symlink])
def test_a_file_twice_in_a_class_is_named_without_given_splits(
    linked: object, tmp_path: Path, root: Path
) -> None:
    linked(root / "train/cat/000.png", root / "train/cat/9.png")  # type: ignore[operator]
    assert len(listed(root).paths) == 25  # it stays in one split
    write_classes(tmp_path / "y")
    linked(tmp_path / "y/cat/000.png", tmp_path / "y/cat/9.png")  # type: ignore[operator]
    (issue,) = refusals(tmp_path / "y")
    assert "y/cat/9.png', allowed: an image in one split only." in issue
    assert "the same file as 'cat/000.png'" in issue


@pytest.mark.parametrize("name", ["cat", "dog"])
def test_a_copy_in_another_split_is_named(name: str, root: Path) -> None:
    shutil.copy(root / "train/cat/000.png", root / "test" / name / "9.png")
    (issue,) = refusals(root)
    assert f"x/test/{name}/9.png', allowed: an image in one split only." in issue
    assert "It has the same content as 'train/cat/000.png': remove one of them." in issue


def test_a_copy_in_the_same_split_or_class_is_allowed(tmp_path: Path, root: Path) -> None:
    shutil.copy(root / "train/cat/000.png", root / "train/cat/9.png")
    assert len(listed(root).paths) == 25
    write_classes(tmp_path / "y")
    shutil.copy(tmp_path / "y/cat/000.png", tmp_path / "y/cat/9.png")
    assert len(listed(tmp_path / "y").paths) == 13


def test_content_is_read_only_for_sizes_that_two_splits_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "x"
    for side, width in (("train", 10), ("test", 30)):
        for name in CLASSES:
            write_class(root / side / name, 9, suffix=".bmp")
            for file in (root / side / name).iterdir():
                Image.open(file).resize((width, 8)).save(file)
    shutil.copy(root / "train/cat/000.bmp", root / "train/dog/9.bmp")
    Image.new("RGB", (10, 8), (1, 2, 3)).save(root / "test/fox/9.bmp")
    asked: list[str] = []
    digests = FileRecords.digests

    def recorded(self: FileRecords, paths: list[str], *, read_all: bool = False) -> list[str]:
        asked.extend(paths)
        return digests(self, paths, read_all=read_all)

    monkeypatch.setattr(FileRecords, "digests", recorded)
    listed(root)
    assert {path.split("/")[0] for path in asked} == {"train", "test"}
    assert [path for path in asked if path.startswith("test")] == ["test/fox/9.bmp"]
