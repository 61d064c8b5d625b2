"""The promises of the object store, on files and in memory, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import pytest

from clmethods.errors import InvalidConfigError
from sweeps.storage import MissingObjectError, ObjectStore, open_storage


@pytest.fixture(params=["directory", "memory"])
def store(request, tmp_path) -> ObjectStore:
    return open_storage(
        str(tmp_path / "new" / "store") if request.param == "directory" else "memory://"
    )


def test_bytes_come_back(store):
    store.put("a/b/c.bin", b"\x00one")
    store.put("a/empty", b"")
    assert store.get("a/b/c.bin") == b"\x00one"
    assert store.get("a/empty") == b""
    store.put("a/b/c.bin", b"two")
    assert store.get("a/b/c.bin") == b"two"


def test_what_is_not_there(store):
    store.put("a/b", b"x")
    for key in ("nothing", "a"):  # a folder is no object
        assert not store.exists(key)
        with pytest.raises(MissingObjectError, match=f"no object {key} in"):
            store.get(key)
    with pytest.raises(MissingObjectError):
        store.move("nothing", "elsewhere")
    store.delete("nothing")
    assert store.exists("a/b")


def test_put_if_absent_keeps_the_first(store):
    assert store.put_if_absent("k", b"first")
    assert not store.put_if_absent("k", b"second")
    assert store.get("k") == b"first"
    store.delete("k")
    assert store.put_if_absent("k", b"third")


def test_listing_is_sorted_and_goes_by_whole_segments(store):
    for key in ("stages/b/2", "stages/b/1", "stages/a/deep/x", "stages/ab/y", "top"):
        store.put(key, b"")
    assert list(store.list()) == [
        "stages/a/deep/x",
        "stages/ab/y",
        "stages/b/1",
        "stages/b/2",
        "top",
    ]
    assert list(store.list("stages/a")) == list(store.list("stages/a/")) == ["stages/a/deep/x"]
    assert list(store.list("none")) == []


def test_folders_are_named_without_looking_into_them(store):
    for key in ("stages/b/2", "stages/a/deep/x", "stages/top", "other/x"):
        store.put(key, b"")
    assert store.folders() == ("other", "stages")
    assert store.folders("stages") == ("a", "b")
    assert store.folders("none") == ()


def test_many_are_deleted_at_once(store):
    for key in ("a/1", "a/2", "a/3", "b"):
        store.put(key, b"")
    store.delete_all(["a/1", "a/none", "a/3"])
    store.delete_all([])
    assert list(store.list()) == ["a/2", "b"]


def test_what_cannot_change_is_read_once(store):
    store.put("a", b"one")
    other = open_storage(store.location) if store.location != "memory://" else None
    assert store.get_immutable("a") == b"one"
    if other is not None:
        other.put("a", b"two")
        assert store.get_immutable("a") == b"one"
        assert store.get("a") == b"two"
    store.put("a", b"three")
    assert store.get_immutable("a") == b"three"
    store.delete("a")
    with pytest.raises(MissingObjectError):
        store.get_immutable("a")


def test_move_replaces(store):
    store.put("a/x", b"x")
    store.put("b/y", b"y")
    store.move("a/x", "b/y")
    assert not store.exists("a/x")
    assert store.get("b/y") == b"x"


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "a//b", "a/../b", ".", "a/", "a b", "a#1", "é"]
)
def test_keys_that_are_not_relative_and_plain_are_refused(store, key):
    for call in (store.get, store.exists, store.delete):
        with pytest.raises(ValueError, match="a key is relative"):
            call(key)
    with pytest.raises(ValueError, match="a key is relative"):
        store.put(key, b"")


def test_storage_can_be_moved(tmp_path):
    open_storage(str(tmp_path / "old")).put("a/b", b"x")
    (tmp_path / "old").rename(tmp_path / "new")
    moved = open_storage(str(tmp_path / "new"))
    assert moved.get("a/b") == b"x"
    assert str(tmp_path / "old") not in "".join(moved.list())


def test_the_location_opens_the_same_storage_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_storage("here")
    store.put("k", b"x")
    monkeypatch.chdir("/")
    assert open_storage(store.location).get("k") == b"x"
    assert os.listdir(tmp_path / "here") == ["k"]  # opening leaves nothing behind


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "taken").write_text("x")
    for location in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(InvalidConfigError) as refusal:
            open_storage(str(location))
        (issue,) = refusal.value.issues
        assert issue.path == "storage"
        assert issue.value == str(location)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    """/proc refuses even the superuser, for whom permission bits are no obstacle."""
    for location in ("/proc/self", "/proc/none/below"):
        with pytest.raises(InvalidConfigError, match="storage: got '/proc"):
            open_storage(location)


@pytest.mark.parametrize("location", ["ftp://host/x", "s3://", "memory://named", "", "  "])
def test_a_location_that_is_not_understood_is_refused(location):
    with pytest.raises(InvalidConfigError, match="storage: got"):
        open_storage(location)


@pytest.mark.parametrize("location", ["s3://bucket/below", "gs://bucket"])
def test_buckets_open_without_being_contacted(location, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert open_storage(location).location == location


RACER = textwrap.dedent(
    """
    import pathlib, sys, time
    from sweeps.storage import open_storage

    location, me, gate, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    store = open_storage(location)
    pathlib.Path(gate + me).touch()
    while not pathlib.Path(gate).exists():
        time.sleep(0.001)
    content = me.encode() * 4096
    print(*(int(store.put_if_absent(f"race/{i}", content)) for i in range(rounds)))
    """
)


def test_exactly_one_of_many_processes_wins_each_key(tmp_path):
    racers, rounds = 6, 200
    location, gate = str(tmp_path / "store"), str(tmp_path / "gate")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, location, str(me), gate, str(rounds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(racers)
    ]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("gate*"))) < racers and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "gate").touch()
    wins = [list(map(int, process.communicate(timeout=60)[0].split())) for process in running]
    assert [sum(column) for column in zip(*wins, strict=True)] == [1] * rounds
    store = open_storage(location)
    for i in range(rounds):
        (winner,) = (me for me in range(racers) if wins[me][i])
        assert store.get(f"race/{i}") == str(winner).encode() * 4096


WRITER = textwrap.dedent(
    """
    import sys
    from sweeps.storage import open_storage

    store = open_storage(sys.argv[1])
    for i in range(10_000):
        store.put("big", bytes([65 + i % 26]) * 2_000_000)
    """
)


def test_a_reader_never_sees_half_an_object_even_when_the_writer_is_killed(tmp_path):
    location = str(tmp_path / "store")
    store = open_storage(location)
    store.put("big", b"A" * 2_000_000)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, location])
    try:
        seen: set[int] = set()
        deadline = time.monotonic() + 20
        while len(seen) < 4 and time.monotonic() < deadline:
            content = store.get("big")
            assert len(content) == 2_000_000
            assert len(set(content)) == 1
            seen.add(content[0])
        assert len(seen) >= 4
    finally:
        writer.kill()
        writer.wait()
    assert len(set(store.get("big"))) == 1
    assert list(store.list()) == ["big"]  # what the killed writer left aside is not an object
    store.put("big", b"after")
    assert store.get("big") == b"after"
