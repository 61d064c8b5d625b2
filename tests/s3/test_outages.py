"""Outages of a real bucket: refused, silent, overloaded, and answers that are lost on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sweeps.stages.lease_watch import LeaseWatch
from sweeps.stages.leases import LeaseTable
from sweeps.storage import (
    Kind,
    ObjectStore,
    StorageOptions,
    StorageRefusedError,
    StorageUnreachableError,
    backends,
    open_storage,
)
from tests.s3.forwarder import (
    SLOW_DOWN,
    Answer,
    Fault,
    Forwarder,
    answers,
    drops,
    loses_answers,
)
from tests.s3.server import S3Server

Operation = Callable[[ObjectStore], Any]

OPERATIONS: dict[str, tuple[Operation, Any]] = {
    "get": (lambda o: o.get("there"), b"x"),
    "get missing": (lambda o: _missing(o), True),
    "put": (lambda o: o.put("new", b"y"), None),
    "put large": (lambda o: o.put("new", bytes(backends.PART + 1)), None),
    "put_if_absent": (lambda o: o.put_if_absent("new", b"y"), True),
    "put_if_absent taken": (lambda o: o.put_if_absent("there", b"y"), False),
    "exists": (lambda o: (o.exists("there"), o.exists("not")), (True, False)),
    "list": (lambda o: list(o.list()), ["there"]),
    "folders": (lambda o: o.folders(), ()),
    "delete": (lambda o: o.delete("there"), None),
    "delete_all": (lambda o: o.delete_all(["there", "not"]), None),
    "move": (lambda o: o.move("there", "moved"), None),
}
"""Each operation on a storage that holds `there`, and what it gives."""


def _missing(objects: ObjectStore) -> bool:
    try:
        objects.get("not")
    except KeyError:
        return True
    return False


FAULTS: dict[str, Callable[[], Fault]] = {
    "slow down": lambda: answers(2, SLOW_DOWN),
    "internal error": lambda: answers(2, Answer(500, b"oops")),
    "bad gateway": lambda: answers(1, Answer(502)),
    "too many requests": lambda: answers(1, Answer(429)),
    "dropped": lambda: drops(2),
}


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts, so that many cases take little time."""
    monkeypatch.setattr("sweeps.storage.patience.FIRST_PAUSE_S", 0.01)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation_survives(
    objects: ObjectStore, front: Forwarder, operation: str, fault: str
) -> None:
    call, expected = OPERATIONS[operation]
    objects.put("there", b"x")
    front.fault = FAULTS[fault]()
    assert call(objects) == expected


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_answer_that_was_lost_is_asked_for_again(
    objects: ObjectStore, front: Forwarder, operation: str
) -> None:
    """The server has done it already. put_if_absent cannot tell that it was its own work."""
    call, expected = OPERATIONS[operation]
    objects.put("there", b"x")
    front.fault = loses_answers(1)
    if operation == "put_if_absent":
        assert call(objects) is False
        assert objects.get("new") == b"y"
    else:
        assert call(objects) == expected


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_a_write_that_met_another_one_is_tried_again(
    objects: ObjectStore, front: Forwarder, code: str
) -> None:
    """Amazon's answer 409: nothing was stored, by nobody."""
    conflict = Answer(409, f"<Error><Code>{code}</Code></Error>".encode())
    front.fault = answers(2, conflict)
    assert objects.put_if_absent("new", b"y") is True
    assert objects.put_if_absent("new", b"z") is False
    front.fault = answers(2, conflict)
    objects.put("new", b"z")
    assert objects.get("new") == b"z"


def test_a_lease_whose_answer_was_lost_is_held(objects: ObjectStore, front: Forwarder) -> None:
    table = LeaseTable(objects)
    front.fault = loses_answers(1, lambda request: request.method == "PUT")
    lease = table.acquire("ab", "me")
    assert lease is not None
    assert lease.is_mine()
    assert table.acquire("ab", "me") is None


def test_a_server_that_is_away_for_a_while(
    objects: ObjectStore, front: Forwarder, notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several threads are refused at once; one notice reports the outage and one its end."""
    monkeypatch.setattr("sweeps.storage.patience.NOTICE_AFTER_S", 0.5)
    monkeypatch.setattr("sweeps.storage.patience.LONGEST_PAUSE_S", 0.4)
    objects.put("there", b"x")
    front.refuse()
    read: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: read.append(objects.get("there"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    assert [thread.is_alive() for thread in threads] == [True] * 4
    assert len(notices) == 1
    front.listen()
    for thread in threads:
        thread.join(timeout=60)
    assert read == [b"x"] * 4
    began, over = notices
    assert began.startswith(f"the storage {objects.location} has been out of reach since ")
    assert "the server refused the connection" in began
    assert "tried again for up to 20 s" in began
    assert over.startswith(f"the storage {objects.location} is back after ")
    objects.get("there")
    assert len(notices) == 2


def test_a_short_outage_is_not_worth_a_word(
    objects: ObjectStore, front: Forwarder, notices: list[str]
) -> None:
    front.fault = answers(2, SLOW_DOWN)
    objects.put("there", b"x")
    assert notices == []


def test_a_server_that_stands_still(
    server: S3Server, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are open and nothing comes: an attempt ends by itself, and another one works."""
    monkeypatch.setattr(backends, "QUICK_S", 0.7)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    objects = open_storage(location, StorageOptions(retry_for_s=60.0))
    objects.put("there", b"x")
    server.freeze()
    try:
        with pytest.raises(StorageUnreachableError, match="did not answer in time"):
            objects.without_retries().get("there")
        timer = threading.Timer(1.5, server.thaw)
        timer.start()
        assert objects.get("there") == b"x"
    finally:
        server.thaw()


def test_after_the_limit_it_is_an_error_that_says_what_was_tried(
    location: str, front: Forwarder
) -> None:
    objects = open_storage(location, StorageOptions(retry_for_s=1.0))
    front.refuse()
    began = time.monotonic()
    with pytest.raises(StorageUnreachableError) as raised:
        objects.get("some/key")
    assert 1.0 <= time.monotonic() - began < 4.0
    error = raised.value
    assert (error.location, error.operation, error.kind) == (
        location,
        "read some/key",
        Kind.UNREACHABLE,
    )
    assert str(error) == (
        f"the storage {location} could not be reached to read some/key, tried for 1 s; "
        "last error: the server refused the connection"
    )


def test_what_waiting_does_not_change_is_raised_at_once(
    objects: ObjectStore, front: Forwarder
) -> None:
    for answer, kind in (
        (Answer(403, b"<Error><Code>AccessDenied</Code></Error>"), Kind.DENIED),
        (Answer(404, b"<Error><Code>NoSuchBucket</Code></Error>"), Kind.NO_BUCKET),
        (Answer(507, b"no space"), Kind.FULL),
    ):
        for name, (call, _) in OPERATIONS.items():
            if name == "exists" and kind is Kind.NO_BUCKET:
                continue  # HEAD has no body that could tell a bucket from an object
            front.taken()
            front.fault = answers(9, answer)
            with pytest.raises(StorageRefusedError) as raised:
                call(objects)
            assert raised.value.kind is kind, name
            assert len(front.requests) <= 2, name


def test_a_view_without_retries_raises_at_once(objects: ObjectStore, front: Forwarder) -> None:
    front.fault = answers(1, SLOW_DOWN)
    with pytest.raises(StorageUnreachableError, match=r"tried once; .*503"):
        objects.without_retries().get("there")
    assert len(front.requests) == 1


def test_a_lease_survives_an_outage_and_its_end_does_not_wait(
    objects: ObjectStore, front: Forwarder
) -> None:
    """Nobody expires it while nothing can be written, however long that is."""
    table = LeaseTable(objects, time_to_live_s=1.0)
    watch = LeaseWatch(table)
    lease = table.acquire("ab", "me")
    assert lease is not None
    with lease:
        assert not watch.is_free("ab")
        front.refuse()
        end = time.monotonic() + 2 * table.time_to_live_s
        while time.monotonic() < end:
            assert not watch.is_free("ab")
            time.sleep(0.1)
        front.listen()
        end = time.monotonic() + 2 * table.time_to_live_s
        while time.monotonic() < end:
            assert not watch.is_free("ab")
            time.sleep(0.1)
        assert lease.is_mine()
        front.refuse()
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    front.listen()


INTERRUPTED = textwrap.dedent(
    """
    import sys
    from sweeps.storage import StorageOptions, open_storage

    objects = open_storage(sys.argv[1], StorageOptions(retry_for_s=600.0))
    print("trying", flush=True)
    try:
        objects.get("there")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
)


def test_ctrl_c_ends_the_waiting(location: str, front: Forwarder) -> None:
    front.refuse()
    waiting = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, location], stdout=subprocess.PIPE, text=True
    )
    try:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "trying\n"
        time.sleep(1.0)
        os.kill(waiting.pid, signal.SIGINT)
        out, _ = waiting.communicate(timeout=30)
        assert out == "interrupted\n"
    finally:
        waiting.kill()
        waiting.wait()
