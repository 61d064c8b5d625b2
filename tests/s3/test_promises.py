"""The promises of the object store on a real bucket; tests/sweeps/storage has those on files."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweeps.storage import (
    MissingObjectError,
    ObjectStore,
    StorageOptions,
    check_storage,
    open_storage,
)
from sweeps.storage.backends import LARGE, PART
from tests.s3.forwarder import Forwarder


def test_what_is_put_is_found_listed_moved_and_deleted(objects: ObjectStore) -> None:
    objects.put("a/b/c", b"\x00one")
    objects.put("a/empty", b"")
    objects.put("ab/x", b"x")
    assert objects.get("a/b/c") == b"\x00one"
    assert objects.get("a/empty") == b""
    assert list(objects.sizes("a")) == [("a/b/c", 4), ("a/empty", 0)]
    assert objects.folders() == ("a", "ab")
    assert objects.folders("a") == ("b",)
    assert objects.folders("none") == ()
    objects.move("a/b/c", "ab/x")
    assert objects.get("ab/x") == b"\x00one"
    assert not objects.exists("a/b/c")
    objects.delete("ab/x")
    objects.delete("ab/x")  # a bucket does not tell
    objects.delete_all(["a/empty", "a/none"])
    assert list(objects.list()) == []
    for call in (objects.get, lambda key: objects.move(key, "elsewhere")):
        with pytest.raises(MissingObjectError, match="no object nothing in s3://"):
            call("nothing")
    assert objects.free_bytes() is None


def test_one_of_many_writers_wins_each_key(objects: ObjectStore) -> None:
    writers, rounds = 6, 5
    barrier = threading.Barrier(writers)

    def race(me: int) -> list[bool]:
        barrier.wait()
        return [objects.put_if_absent(f"race/{i}", str(me).encode()) for i in range(rounds)]

    with ThreadPoolExecutor(writers) as pool:
        wins = list(pool.map(race, range(writers)))
    assert [sum(column) for column in zip(*wins, strict=True)] == [1] * rounds
    for i in range(rounds):
        (winner,) = (me for me in range(writers) if wins[me][i])
        assert objects.get(f"race/{i}") == str(winner).encode()


@pytest.mark.parametrize("size", [LARGE, LARGE + 1, PART + 1, 3 * PART + 5])
def test_large_objects_come_back(objects: ObjectStore, front: Forwarder, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    objects.put("large", data)
    assert objects.get("large") == data
    assert any("uploads" in request.path for request in front.requests) == (size > PART)
    assert objects.put_if_absent("once", data)
    assert not objects.put_if_absent("once", b"")
    assert objects.get("once") == data


def test_a_check_leaves_nothing_behind(objects: ObjectStore, front: Forwarder) -> None:
    found = check_storage(objects)
    assert (found.usable, found.writable, found.conditional_put) == (True, True, True)
    assert found.access == (
        f"endpoint {front.endpoint}, region us-east-1, keys from the shared credentials file"
    )
    assert list(objects.list()) == []
    assert len(front.requests) == 4 + 1


def test_the_options_open_the_same_storage_without_an_environment(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver sends these options to its workers; every machine has its own keys."""
    objects.put("a", b"x")
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name)
    options = type(objects.options).from_json(objects.options.to_json())
    assert open_storage(objects.location, options).get("a") == b"x"


def test_what_is_given_wins_over_the_environment(
    location: str, front: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
    given = StorageOptions(endpoint=front.endpoint, allow_http=True, retry_for_s=0)
    open_storage(location, given).put("a", b"x")
    assert front.requests
