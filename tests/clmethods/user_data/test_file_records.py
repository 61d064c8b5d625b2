"""Records of files: computed once, and again whenever a file may have changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from clmethods.user_data import file_records
from clmethods.user_data.file_records import FileRecords
from tests.clmethods.data.files import noise, write_png


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the files whose content is read, which grows during the test."""
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_records, "SETTLED_NS", 0)
    found: list[str] = []
    digest = FileRecords._digest

    def recorded(self: FileRecords, path: str) -> str:
        found.append(path)
        return digest(self, path)

    monkeypatch.setattr(FileRecords, "_digest", recorded)
    return found


def digests(root: Path, *paths: str, read_all: bool = False) -> list[str]:
    records = FileRecords(root)
    found = records.digests(paths, read_all=read_all)
    records.save()
    return found


def test_a_file_is_read_once_in_all_processes(tmp_path: Path, reads: list[str]) -> None:
    write_png(tmp_path / "x" / "a.png", noise(4, 4))
    expected = hashlib.sha256((tmp_path / "x" / "a.png").read_bytes()).hexdigest()
    assert digests(tmp_path / "x", "a.png") == [expected]
    assert digests(tmp_path / "x", "a.png") == [expected]
    assert reads == ["a.png"]
    assert digests(tmp_path / "x", "a.png", read_all=True) == [expected]
    assert reads == ["a.png", "a.png"]


def test_a_change_is_seen_even_if_size_and_time_are_restored(
    tmp_path: Path, reads: list[str]
) -> None:
    file = tmp_path / "x" / "a.png"
    write_png(file, noise(4, 4))
    before = digests(tmp_path / "x", "a.png")
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=times)
    assert digests(tmp_path / "x", "a.png") != before


def test_a_file_that_was_just_changed_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_records, "SETTLED_NS", 10**12)
    write_png(tmp_path / "x" / "a.png", noise(4, 4))
    digests(tmp_path / "x", "a.png")
    digests(tmp_path / "x", "a.png")
    assert reads == ["a.png", "a.png"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff\xfe"])
def test_damaged_records_are_computed_again(
    damage: bytes, tmp_path: Path, reads: list[str]
) -> None:
    write_png(tmp_path / "x" / "a.png", noise(4, 4))
    before = digests(tmp_path / "x", "a.png")
    (stored,) = (tmp_path / "cache").glob("records-*.json")
    stored.write_bytes(damage)
    assert digests(tmp_path / "x", "a.png") == before
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "x" / "a.png", noise(4, 4))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "file" / "below"))
    assert digests(tmp_path / "x", "a.png") == digests(tmp_path / "x", "a.png")


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"stat": None},
        {"stat": [1, 2]},
        {"stat": ["1", 2, 3, 4, 5]},
        {"header": [], "sha256": "0" * 64},
        {"header": ["PNG", 4, 4, "RGB", 1]},
        {"header": ["PNG", "4", 4, "RGB", 1, ""]},
        {"header": "PNG"},
        {"sha256": None},
        {"sha256": 7},
        {"sha256": "abc"},
    ],
)
def test_a_damaged_record_is_computed_again(
    tmp_path: Path, reads: list[str], record: object
) -> None:
    folder = tmp_path / "x"
    write_png(folder / "a.png", noise(4, 4, 3))
    content = hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    digests(folder, "a.png")
    (cache,) = (tmp_path / "cache").glob("records-*.json")
    document = json.loads(cache.read_text())
    if isinstance(record, dict) and record and "stat" not in record:
        record = document["files"]["a.png"] | record
    document["files"]["a.png"] = record
    cache.write_text(json.dumps(document))
    header = FileRecords(folder).header("a.png")
    assert header is not None
    assert (header.format, header.size, header.problem) == ("PNG", (4, 4), "")
    assert digests(folder, "a.png") == [content]
    assert reads == ["a.png", "a.png"]


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{}", '{"version": [1, 1], "files": []}', "[" * 100_000, "\xff"]
)
def test_a_damaged_file_of_records_is_ignored(tmp_path: Path, reads: list[str], text: str) -> None:
    write_png(tmp_path / "x" / "a.png", noise(4, 4, 3))
    first = digests(tmp_path / "x", "a.png")
    (cache,) = (tmp_path / "cache").glob("records-*.json")
    cache.write_bytes(text.encode("latin-1"))
    assert digests(tmp_path / "x", "a.png") == first
    assert reads == ["a.png", "a.png"]
