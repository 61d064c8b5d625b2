"""Classification of exceptions of backends and file systems, and their retry times."""

from __future__ import annotations

import errno
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from sweeps.storage import (
    FULL,
    Kind,
    MissingObjectError,
    ObjectStore,
    StorageOptions,
    StorageRefusedError,
    StorageUnreachableError,
    check_storage,
    is_full,
    is_storage_fault,
    open_storage,
    storage_error_in,
)
from sweeps.storage.failure_kinds import failure_of
from sweeps.storage.patience import LONGEST_PAUSE_S, OutageNotice, Patience


def of_file_system(number: int) -> GenericError:
    """As `obstore` tells of an error of a file system; the form was taken from a real one."""
    reason = f"{os.strerror(number)} (os error {number})"
    return GenericError(
        f"Generic LocalFileSystem error: Unable to open file /sys/zz#1: {reason}\n\n"
        'Debug source:\nGeneric {\n    store: "LocalFileSystem" }'
    )


def test_the_form_of_an_error_of_a_file_system_is_that_of_a_real_one() -> None:
    with pytest.raises(GenericError) as raised:
        obstore.put(obstore.store.LocalStore("/sys"), "zz", b"")
    made = str(of_file_system(errno.EACCES)).split("\n")[0]
    assert str(raised.value).split("\n")[0] == made


@pytest.mark.parametrize("number", ["ESTALE", "EIO", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN"])
@pytest.mark.parametrize("form", [of_file_system, lambda number: OSError(number, "words")])
def test_a_file_server_that_is_away(number: str, form: Callable[[int], Exception]) -> None:
    failure = failure_of(form(getattr(errno, number)))
    assert (failure.kind, failure.transient) == (Kind.UNREACHABLE, True)
    assert failure.reason == os.strerror(getattr(errno, number))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("ENOSPC", Kind.FULL),
        ("EDQUOT", Kind.FULL),
        ("EACCES", Kind.DENIED),
        ("EPERM", Kind.DENIED),
        ("EROFS", Kind.DENIED),
        ("ENOTDIR", Kind.OTHER),
        ("ENAMETOOLONG", Kind.OTHER),
    ],
)
@pytest.mark.parametrize("form", [of_file_system, lambda number: OSError(number, "words")])
def test_what_waiting_does_not_change(
    number: str, kind: Kind, form: Callable[[int], Exception]
) -> None:
    failure = failure_of(form(getattr(errno, number)))
    assert (failure.kind, failure.transient) == (kind, False)


def test_classes_that_say_enough() -> None:
    assert failure_of(PermissionDeniedError("words")).kind is Kind.DENIED
    assert failure_of(NotImplementedError("words")).kind is Kind.UNSUPPORTED
    assert failure_of(GenericError("odd\nDebug source:\nkind: Connect")).kind is Kind.OTHER
    away = UnauthenticatedError(
        "The operation lacked valid authentication credentials for path External AWS credential "
        "provider: KeysUnavailableError: no keys were found\n\nDebug source:\nPyErr"
    )
    assert failure_of(away).kind is Kind.NO_KEYS
    assert failure_of(away).reason == "no keys were found"


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "answer"


def patience(retry_for_s: float, notices: list[str] | None = None) -> Patience:
    said: list[str] = [] if notices is None else notices
    return Patience("/shared", retry_for_s, OutageNotice("/shared", retry_for_s, said.append))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts; they take no real time and advance the clock."""
    slept: list[float] = []
    start = time.monotonic()

    monkeypatch.setattr("sweeps.storage.patience.time.sleep", slept.append)
    monkeypatch.setattr("sweeps.storage.patience.time.monotonic", lambda: start + sum(slept))
    return slept


def test_pauses_double_up_to_a_limit_and_differ(pauses: list[float]) -> None:
    flaky = Flaky(60, of_file_system(errno.ESTALE))
    assert patience(600.0).run("read", flaky) == "answer"
    assert len(pauses) == 60
    assert max(pauses) <= LONGEST_PAUSE_S
    assert pauses[0] <= 0.2
    assert all(pause >= LONGEST_PAUSE_S / 2 for pause in pauses[8:])
    assert len({*pauses}) == 60


def test_the_limit_holds(pauses: list[float]) -> None:
    flaky = Flaky(10_000, of_file_system(errno.EIO))
    with pytest.raises(StorageUnreachableError) as raised:
        patience(600.0).run("read a", flaky)
    assert sum(pauses) == pytest.approx(600.0)
    assert flaky.calls < 120
    assert "tried for 600 s; last error: Input/output error" in str(raised.value)


def test_an_outage_is_reported_once_and_so_is_its_end(pauses: list[float]) -> None:
    notices: list[str] = []
    steady = patience(600.0, notices)
    steady.run("read", Flaky(3, of_file_system(errno.ESTALE)))
    assert notices == []  # it was short
    for _ in range(2):
        steady.run("read", Flaky(20, of_file_system(errno.ESTALE)))
        steady.run("read", Flaky(0, of_file_system(errno.ESTALE)))
        began, over = notices
        assert "has been out of reach since" in began
        assert "Stale file handle" in began
        assert "is back after" in over
        notices.clear()


def test_a_defect_is_not_waited_for() -> None:
    flaky = Flaky(1, TypeError("a defect"))
    with pytest.raises(TypeError):
        patience(600.0).run("read", flaky)
    assert flaky.calls == 1


def test_the_generator_of_the_process_is_left_alone() -> None:
    import random

    random.seed(1)
    before = random.getstate()
    patience(5.0).run("read", Flaky(1, of_file_system(errno.EIO)))
    assert random.getstate() == before


def test_a_storage_on_files_survives_a_stale_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = open_storage(str(tmp_path), StorageOptions(retry_for_s=30.0))
    objects.put("a", b"x")
    whole, left = obstore.get, [2]

    def stale(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise of_file_system(errno.ESTALE)
        return whole(*arguments)

    monkeypatch.setattr(obstore, "get", stale)
    assert objects.get("a") == b"x"
    left[0] = 1
    with pytest.raises(StorageUnreachableError, match="tried once; last error: Stale"):
        objects.without_retries().get("a")


def test_errors_travel_between_processes() -> None:
    """Ray pickles what a worker raises."""
    for error in (
        StorageUnreachableError("s3://b", "read a", 12.0, "no answer"),
        StorageRefusedError("s3://b", "read a", Kind.FULL, "507"),
        MissingObjectError("a", "s3://b"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_storage_errors_are_found_below_what_was_raised_from_them() -> None:
    full = StorageRefusedError("/shared", "write a", Kind.FULL, "no space")
    assert FULL in str(full)
    wrapped = RuntimeError("what Tune makes of it")
    wrapped.__cause__ = full
    assert is_full(wrapped)
    assert is_storage_fault(wrapped)
    assert storage_error_in(wrapped) is full
    other = StorageUnreachableError("/shared", "write a", 1.0, "words")
    assert is_storage_fault(other)
    assert not is_full(other)
    assert storage_error_in(ValueError()) is None


@pytest.mark.parametrize("write", [True, False])
def test_a_check_of_a_directory(tmp_path: Path, write: bool) -> None:
    objects = open_storage(str(tmp_path))
    found = check_storage(objects, write=write)
    assert (found.usable, found.writable, found.conditional_put) == (True, write, write)
    assert found.free_bytes is not None
    assert found.access == ""
    assert list(objects.list()) == []


def test_a_check_of_what_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = open_storage(str(tmp_path))

    def refuse(*arguments: Any, **options: Any) -> None:
        raise of_file_system(errno.EROFS)

    monkeypatch.setattr(obstore, "put", refuse)
    found = check_storage(objects)
    assert (found.usable, found.kind) == (False, "denied")
    assert found.hint == (
        "Read-only file system. Change the owner or the mode of the directory, or choose another "
        "one."
    )


def test_views_share_what_they_know_of_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat that fails is the beginning of an outage that another thread ends."""
    monkeypatch.setattr("sweeps.storage.patience.NOTICE_AFTER_S", 0.0)
    notices: list[str] = []
    objects = open_storage(str(tmp_path), notify=notices.append)
    objects.put("a", b"x")
    whole = obstore.get

    def stale(*arguments: Any) -> Any:
        raise of_file_system(errno.ESTALE)

    monkeypatch.setattr(obstore, "get", stale)
    beats = objects.without_retries()
    recorded: list[str] = []

    def beat() -> None:
        with pytest.raises(StorageUnreachableError):
            beats.get("a")

    with objects.reporting_outages_to(recorded.append):
        thread = threading.Thread(target=beat)
        thread.start()
        thread.join()
        assert len(notices) == 1
        monkeypatch.setattr(obstore, "get", whole)
        assert objects.get("a") == b"x"
        assert len(notices) == 2
    assert recorded == notices
    monkeypatch.setattr(obstore, "get", stale)
    beat()
    assert (len(notices), len(recorded)) == (3, 2)


def _same(one: ObjectStore, other: ObjectStore) -> bool:
    return one.location == other.location


def test_only_a_writer_makes_directories(tmp_path: Path) -> None:
    from clmethods.config import InvalidConfigError

    with pytest.raises(InvalidConfigError, match="an existing storage directory"):
        open_storage(str(tmp_path / "none"), create=False)
    assert not (tmp_path / "none").exists()
    made = open_storage(str(tmp_path / "none"))
    assert _same(open_storage(str(tmp_path / "none"), create=False), made)
