"""Image folders: classes, ignored files, and files that cannot be read, all named at once."""

from __future__ import annotations

import errno
import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from clmethods.config import InvalidConfigError, StreamConfig
from clmethods.data.datasets import open_images
from clmethods.data.source import DatasetError
from clmethods.user_data.folder_listing import fingerprint_of
from tests.clmethods.user_data.folders import (
    CLASSES,
    listed,
    refusals,
    stream,
    write_class,
    write_classes,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))


def test_the_version_of_plain_images_covers_names_and_sizes_as_before(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    before = fingerprint_of((p.relative_to(root).as_posix(), p.stat().st_size) for p in paths)
    assert listed(root).version == before


@pytest.mark.parametrize(
    "name",
    [
        *(".ipynb_checkpoints", "__MACOSX", "@eaDir", ".thumbnails", "$RECYCLE.BIN", ".git"),
        *("__pycache__", "System Volume Information", "lost+found", "#recycle"),
    ],
)
def test_folders_of_the_system_are_no_classes_and_join_none(name: str, tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    before = listed(root)
    write_class(root / name, 7)
    write_class(root / "cat" / name, 7)
    after = listed(root)
    assert after.classes == CLASSES
    assert after.paths == before.paths
    assert after.version == before.version
    assert set(after.ignored_folders) == {name, f"cat/{name}"}


@pytest.mark.parametrize(
    "name",
    [
        *("._000.png", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "000.png~"),
        *("000.png.part", "001.jpg.bak", "~$notes.png", "readme.txt", "labels.json"),
    ],
)
def test_files_that_are_no_images_are_ignored_and_counted(name: str, tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    before = listed(root)
    picture = (root / "cat" / "000.png").read_bytes()
    content = b"text" if name.endswith((".txt", ".json")) else picture
    (root / "cat" / name).write_bytes(content)
    (root / name).write_bytes(content)
    after = listed(root)
    assert after.paths == before.paths
    assert set(after.ignored_files) == {name, f"cat/{name}"}


@pytest.mark.parametrize(
    ("suffix", "format"),
    [
        *((".gif", "GIF"), (".jfif", "JPEG"), (".jpe", "JPEG"), (".webp", "WEBP")),
        *((".bmp", "BMP"), (".tif", "TIFF"), (".ppm", "PPM"), (".PNG", "PNG"), (".avif", "AVIF")),
        *((".jp2", "JPEG2000"), ("", "PNG"), (".image", "JPEG"), (".jpg", "PNG")),
    ],
)
def test_the_content_of_a_file_decides_whether_it_is_read(
    suffix: str, format: str, tmp_path: Path
) -> None:
    """A class of such files only was dropped without a message."""
    root = tmp_path / "x"
    write_classes(root)
    for index in range(3):
        with (root / "fox" / f"{index}{suffix}").open("wb") as file:
            Image.new("RGB", (24, 20), (200, 10, index)).save(file, format=format)
        (root / "fox" / f"{index:03d}.png").unlink()
    listing = listed(root)
    assert listing.classes == CLASSES
    assert listing.labels.count(3) == 3
    assert listing.headers[-1].format == format
    assert listing.headers[-1].size == (24, 20)


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    (root / "gnu").mkdir()
    (root / "yak").mkdir()
    (root / "yak" / "notes.txt").write_text("no image")
    gnu, yak = refusals(root)
    assert "Class 'gnu' has none: add images to its folder, or remove the folder." in gnu
    assert "Class 'yak' has none" in yak


def test_images_that_cannot_be_read_are_named_with_class_reason_and_fix(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    (root / "dog" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "dog" / "b.png").write_bytes(b"")
    (root / "emu" / "c.jpg").write_text("not an image")
    dog, emu = refusals(root)
    assert "2 of 5 images of class 'dog' cannot be read; convert them to PNG or JPEG" in dog
    assert "dog/a.heic: .heic files are not read" in dog
    assert "dog/b.png: the file is empty" in dog
    assert "emu/c.jpg: the content is not an image of a known format" in emu


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_class_that_can_be_read_on_one_side_only_is_named(side: str, tmp_path: Path) -> None:
    root = tmp_path / "x"
    for folder in ("train", "test"):
        write_classes(root / folder)
    shutil.rmtree(root / side / "emu")
    (issue,) = refusals(root)
    word = "training" if side == "train" else "test"
    assert f"{word} images for every class. Class 'emu' has none." in issue


def test_links_that_cannot_be_followed_are_named_at_once(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "dog" / "self.png").symlink_to(root / "dog" / "self.png")
    (root / "emu" / "up").symlink_to(root)
    (root / "yak").symlink_to(tmp_path / "no_folder")
    (root / "zoo").symlink_to(root)
    os.mkfifo(root / "fox" / "pipe.png")
    issues = "\n".join(refusals(root))
    assert "cat/gone.png', allowed: a file or folder to read. The link leads to" in issues
    assert "nowhere.png, which does not exist: restore it or remove the link." in issues
    assert "self.png and cannot be followed" in issues
    assert "emu/up', allowed" in issues
    assert "x/yak'" in issues
    assert "x/zoo', allowed: a file or folder to read. The link leads to a folder that" in issues
    assert "fox/pipe.png', allowed: a file or folder to read. It is neither a file nor" in issues
    assert len(refusals(root)) == 7  # and `zoo` has no image


def test_a_link_to_images_elsewhere_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    write_class(tmp_path / "elsewhere", 250)
    (root / "yak").symlink_to(tmp_path / "elsewhere")
    assert listed(root).classes == (*CLASSES, "yak")


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9", b"notes\xff.txt"])
def test_a_name_in_another_encoding_is_named(name: bytes, tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    path = os.path.join(os.fsencode(root / "cat"), name)
    shutil.copy(root / "cat" / "000.png", path)
    (issue,) = refusals(root)
    shown = os.fsdecode(name).encode("ascii", "backslashreplace").decode()
    assert f"cat/{shown}', allowed: a file or folder to read. The name is not UTF-8" in issue
    os.unlink(path)
    os.mkdir(os.path.join(os.fsencode(root), name))
    (issue,) = refusals(root)
    assert f"x/{shown}', allowed: a file or folder to read. The name is not UTF-8" in issue


@pytest.mark.parametrize("dataset", ["image-folder", "idx", "imagenet-r", "notmnist"])
@pytest.mark.parametrize("kind", ["long", "file", "below a file", "loop", "NUL"])
def test_a_root_that_cannot_be_listed_is_one_message(
    kind: str, dataset: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    roots = {
        "long": "a" * 5000,
        "file": str(tmp_path / "file"),
        "below a file": str(tmp_path / "file" / "x"),
        "loop": str(tmp_path / "loop"),
        "NUL": "a\0b",
    }
    with pytest.raises((InvalidConfigError, DatasetError)) as found:
        open_images(StreamConfig(dataset=dataset, root=roots[kind]), 8)
    reasons = {"long": "File name too long.", "file": "Not a directory.", "NUL": "null byte."}
    if dataset == "image-folder":
        assert str(found.value).endswith(reasons.get(kind, "."))


def test_folders_that_may_not_be_listed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "x"
    write_classes(root)
    closed = {str(root / "dog")}
    scan = os.scandir

    def scandir(path: os.PathLike[str]) -> object:
        if os.fspath(path) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    issues = refusals(root)
    assert "x/dog', allowed: a file or folder to read. Permission denied." in issues[0]
    closed.add(str(root))
    (issue,) = refusals(root)
    assert "x', allowed: an existing folder with one folder of images per class. Perm" in issue


def test_many_issues_are_shortened(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_classes(root)
    for index in range(30):
        (root / "cat" / f"{index}.jpg").symlink_to(tmp_path / "nowhere")
    issues = refusals(root)
    assert len(issues) == 21
    assert "There are 10 more issues." in issues[-1]


def test_composed_and_decomposed_names_are_one_class(tmp_path: Path) -> None:
    root = tmp_path / "x"
    composed, decomposed = (unicodedata.normalize(form, "Ärger") for form in ("NFC", "NFD"))
    for side, name in (("train", composed), ("test", decomposed)):
        write_classes(root / side)
        write_class(root / side / name, 250)
    listing = listed(root)
    assert len(listing.classes) == 5
    assert composed in listing.classes
    label = listing.classes.index(composed)
    splits = [s for s, at in zip(listing.splits, listing.labels, strict=True) if at == label]
    assert sorted(splits) == [0, 0, 0, 2, 2, 2]


def test_names_that_became_one_class_have_another_data_version(tmp_path: Path) -> None:
    """Earlier versions read two classes from the same files."""
    root = tmp_path / "x"
    write_classes(root)
    for color, form in ((90, "NFC"), (200, "NFD")):
        write_class(root / unicodedata.normalize(form, "Ärger"), color)
    paths = [path for path in root.rglob("*") if path.is_file()]
    before = fingerprint_of((p.relative_to(root).as_posix(), p.stat().st_size) for p in paths)
    listing = listed(root)
    assert len(listing.classes) == 5
    assert listing.version != before


def test_class_ids_follow_the_names_as_they_are_stored(tmp_path: Path) -> None:
    """A decomposed name precedes `z`, its composed form follows it: stored runs have the first."""
    root = tmp_path / "x"
    decomposed = unicodedata.normalize("NFD", "égal")
    for name in ("zoo", decomposed, "ant"):
        write_class(root / name, 9)
    assert listed(root).classes == ("ant", unicodedata.normalize("NFC", "égal"), "zoo")


def test_names_of_classes_come_with_the_data(tmp_path: Path) -> None:
    write_classes(tmp_path / "x")
    assert stream(tmp_path / "x").facts.class_names == CLASSES
