"""Links, pipes and folders of other programs in a local storage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweeps.storage import MissingObjectError, ObjectStore, StorageRefusedError, open_storage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "storage"
    (folder / "stages" / "aa").mkdir(parents=True)
    (folder / "stages" / "aa" / "x").write_bytes(b"12")
    return folder


@pytest.fixture
def store(root: Path) -> ObjectStore:
    return open_storage(str(root))


def listed(store: ObjectStore) -> list[str]:
    keys = [*store.list()]
    assert [key for key, _ in store.sizes()] == keys
    return keys


@pytest.mark.parametrize(
    "target", ["self", "nothing", ".", "..", "/", "../../stages", "aa", "/dev/null", "a\nb"]
)
def test_a_link_that_leads_to_no_new_folder_is_passed_over(
    store: ObjectStore, root: Path, target: str
) -> None:
    for folder in (root, root / "stages", root / "stages" / "aa"):
        (folder / "self").symlink_to(target)
    assert listed(store) == ["stages/aa/x"]
    assert store.folders() == ("stages",)
    assert store.folders("stages") == ("aa",)
    for key in ("self", "stages/self", "stages/aa/self", "self/x", "stages/aa/x/y"):
        if target not in {".", "..", "/", "aa", "../../stages"}:
            assert not store.exists(key)
            with pytest.raises(MissingObjectError):
                store.get(key)


def test_two_folders_that_link_to_each_other_are_listed_once(
    store: ObjectStore, root: Path
) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (root / name).mkdir()
        (root / name / "file").write_bytes(b"1")
        (root / name / "other").symlink_to(f"../{other}")
    assert listed(store) == ["a/file", "b/file", "stages/aa/x"]


def test_a_folder_on_another_disk_is_listed_once(
    store: ObjectStore, root: Path, tmp_path: Path
) -> None:
    """A folder may be moved to another disk and linked."""
    (root / "stages").rename(tmp_path / "disk")
    (root / "stages").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(root)
    assert listed(store) == ["stages/aa/x"]
    assert store.folders() == ("stages",)
    assert [*store.list("stages/aa")] == ["stages/aa/x"]


def test_a_link_to_a_file_is_the_file(store: ObjectStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(b"123")
    (root / "linked").symlink_to(tmp_path / "content")
    assert [*store.sizes()] == [("linked", 3), ("stages/aa/x", 2)]
    assert store.get("linked") == b"123"


def test_pipes_and_folders_of_the_file_system_are_passed_over(
    store: ObjectStore, root: Path
) -> None:
    os.mkfifo(root / "stages" / "pipe")
    (root / "lost+found").mkdir()
    (root / "lost+found" / "x").write_bytes(b"1")
    assert listed(store) == ["stages/aa/x"]
    assert store.folders() == ("stages",)
    assert not store.exists("stages/pipe")
    with pytest.raises(MissingObjectError):
        store.get("stages/pipe")  # would wait for a writer


def test_a_file_that_is_deleted_while_it_is_listed_is_left_out(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "stages" / "y").write_bytes(b"1")
    real = os.scandir
    gone: list[Path] = []

    def scan(path: str) -> object:
        entries = list(real(path))
        if path.endswith("aa"):
            (root / "stages" / "aa" / "x").unlink()
            gone.append(root)

        class Entries:
            def __enter__(self) -> list[os.DirEntry[str]]:
                return entries

            def __exit__(self, *error: object) -> None:
                return None

        return Entries()

    monkeypatch.setattr(os, "scandir", scan)
    assert [*store.sizes()] == [("stages/y", 1)]
    assert gone


def test_a_folder_that_cannot_be_read_is_named(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scan(path: str) -> object:
        if path.endswith("aa"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(StorageRefusedError, match=r"Permission denied \(.*/stages/aa\)"):
        store.list("stages")
