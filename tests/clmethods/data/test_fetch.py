"""Downloading, with the real client and files on this machine in place of a network."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from clmethods.catalog.facts import DATASETS as FACTS
from clmethods.config import StreamConfig
from clmethods.data import fetch as fetching
from clmethods.data.datasets import open_images
from clmethods.data.fetch import ARCHIVES, Archive, fetch
from clmethods.data.source import DatasetError
from tests.clmethods.data.files import write_folder, write_idx


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST and ImageNet-R as somebody publishes them, and small."""
    folder = tmp_path / "published"
    write_idx(folder)
    files = tuple(Archive(path.as_uri(), md5(path)) for path in sorted(folder.glob("*.gz")))
    monkeypatch.setitem(ARCHIVES, "mnist", files)
    write_folder(tmp_path / "imagenet-r", 200, 5)
    with tarfile.open(folder / "imagenet-r.tar", "w") as tar:
        tar.add(tmp_path / "imagenet-r", "imagenet-r")
    renditions = Archive((folder / "imagenet-r.tar").as_uri(), unpack=True)
    monkeypatch.setitem(ARCHIVES, "imagenet-r", (renditions,))
    for name in ("mnist", "imagenet-r"):
        monkeypatch.setitem(FACTS, name, replace(FACTS[name], images=None))
    return folder


@pytest.mark.parametrize(("dataset", "images"), [("mnist", 60), ("imagenet-r", 1000)])
def test_what_is_asked_for_is_fetched_and_read(
    dataset: str, images: int, tmp_path: Path, published: Path
) -> None:
    root = str(tmp_path / "root")
    with pytest.raises(DatasetError, match="the original files are required"):
        open_images(StreamConfig(dataset=dataset, root=root), 8)
    assert not Path(root).exists()  # nothing is fetched unless it is asked for
    stream = StreamConfig(dataset=dataset, root=root, download=True)
    assert len(open_images(stream, 8).labels) == images
    assert not list(Path(root).glob("*.tmp"))


def test_a_file_with_another_checksum_is_not_kept(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = ARCHIVES["mnist"]
    monkeypatch.setitem(ARCHIVES, "mnist", (replace(first, md5="0" * 32), *rest))
    with pytest.raises(DatasetError, match=r"has MD5 .*, expected 00000"):
        fetch("mnist", str(tmp_path / "root"))
    assert list((tmp_path / "root").iterdir()) == []


def test_without_a_network_it_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Archive((tmp_path / "gone.gz").as_uri())
    monkeypatch.setitem(ARCHIVES, "mnist", (gone,))
    with pytest.raises(DatasetError, match=r"cannot be downloaded.*copy it into .*root"):
        fetch("mnist", str(tmp_path / "root"))


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(tmp_path / "x", "../outside")
    (tmp_path / "root").mkdir()
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        fetching._unpack(tmp_path / "evil.tar", tmp_path / "root")
    assert not (tmp_path / "outside").exists()


def test_what_cannot_be_fetched_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cub200 cannot be downloaded; these can: cifar10"):
        fetch("cub200", str(tmp_path))
    with pytest.raises(DatasetError, match=r"set stream\.root to the folder"):
        fetch("mnist", None)


def test_every_archive_is_of_a_known_dataset() -> None:
    assert ARCHIVES.keys() <= FACTS.keys()
