"""The event log: what was added is read back, in order, whatever is damaged beside it."""

from __future__ import annotations

import json

import pytest

from clmethods.config import short_id
from sweeps.results import events
from sweeps.results.event_kinds import Notice, RunEnded, RunStarted, StageDone
from sweeps.results.events import FLUSH_EVERY_S, EventLog, read_event_log, read_events
from sweeps.storage import ObjectStore, open_storage


@pytest.fixture
def objects() -> ObjectStore:
    return open_storage("memory://")


def notice(number: int) -> Notice:
    return Notice(text=f"notice {number}")


def test_events_are_read_in_order_with_their_fields(objects: ObjectStore) -> None:
    started = RunStarted(document="d", code_version="c", user="ada", only=("a*", "b"))
    stage = StageDone(trial="t", key="ab", position=0, outcome="trained", seconds=1.5, node="w1")
    log = EventLog(objects, "demo", "run1")
    log.add(started)
    log.add(stage)
    log.flush(force=True)
    log.add(RunEnded(trained=1))
    log.flush(force=True)
    found = list(read_events(objects, "demo"))
    assert [event.body for event in found] == [started, stage, RunEnded(trained=1)]
    assert {event.run for event in found} == {"run1"}
    times = [event.time for event in found]
    assert all(time is not None and time.tzinfo is not None for time in times)
    assert times == sorted(time for time in times if time is not None)
    assert list(read_events(objects, "other")) == []


def test_lines_are_written_when_they_are_due_and_in_few_objects(objects: ObjectStore) -> None:
    now = [0.0]
    log = EventLog(objects, "demo", "run1", clock=lambda: now[0])
    log.flush()
    log.add(notice(0))
    log.flush()
    assert list(objects.list()) == []
    for number in range(5):
        now[0] += FLUSH_EVERY_S
        log.add(notice(number))
        now[0] += FLUSH_EVERY_S
        log.flush()
    assert len(list(objects.list())) == 1
    assert len(list(read_events(objects, "demo"))) == 6


def test_nothing_new_is_not_written_again(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(objects, "demo", "run1")
    log.add(notice(0))
    log.flush(force=True)

    def fail(self: ObjectStore, key: str, data: bytes) -> None:
        raise AssertionError(key)

    monkeypatch.setattr(ObjectStore, "put", fail)
    log.flush(force=True)


def test_a_full_object_is_followed_by_another(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "OBJECT_BYTES", 200)
    log = EventLog(objects, "demo", "run1")
    for number in range(10):
        log.add(notice(number))
        log.flush(force=True)
    assert len(list(objects.list())) > 2
    assert [event.body for event in read_events(objects, "demo")] == [*map(notice, range(10))]


def test_a_storage_that_fails_costs_no_event(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    log = EventLog(objects, "demo", "run1", clock=lambda: now[0])
    log.add(notice(0))

    def fail(self: ObjectStore, key: str, data: bytes) -> None:
        raise ConnectionError("down")

    with monkeypatch.context() as broken:
        broken.setattr(ObjectStore, "put", fail)
        log.flush(force=True)
    log.flush()
    assert list(read_events(objects, "demo")) == []
    now[0] += FLUSH_EVERY_S
    log.flush()
    assert [event.kind for event in read_events(objects, "demo")] == ["notice"]


def test_an_event_that_comes_while_the_log_is_written_is_kept(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat's thread records an outage while the driver's thread writes."""
    monkeypatch.setattr(events, "OBJECT_BYTES", 1)
    log, put = EventLog(objects, "demo", "run1"), ObjectStore.put
    log.add(notice(0))

    def interrupted(self: ObjectStore, key: str, data: bytes) -> None:
        monkeypatch.setattr(ObjectStore, "put", put)
        log.add(notice(1))
        put(self, key, data)

    monkeypatch.setattr(ObjectStore, "put", interrupted)
    log.flush(force=True)
    log.flush(force=True)
    assert [event.body for event in read_events(objects, "demo")] == [notice(0), notice(1)]


def test_damaged_lines_are_left_out(objects: ObjectStore) -> None:
    good = json.dumps({"at": "t", "run": "r", "event": "stage", "n": 1})
    lines = ["{", "[]", '{"at": "t"}', good, "\ufffd"]
    objects.put("sweeps/demo/events/x.jsonl", "\n".join(lines).encode())
    objects.put("sweeps/demo/events/y.json", b"{}")
    objects.put("sweeps/demo/events/z.json", b"not JSON")
    (event,) = read_events(objects, "demo")
    assert (event.kind, event.fields, event.body, event.time) == ("stage", {"n": 1}, None, None)


def test_objects_with_damaged_lines_are_named_and_copies_count_once(objects: ObjectStore) -> None:
    log = EventLog(objects, "demo", "run1")
    log.add(notice(0))
    log.add(notice(1))
    log.flush(force=True)
    (name,) = objects.list("sweeps/demo/events")
    data = objects.get(name)
    later = {"at": "2026-11-30T00:00:00+00:00", "run": "r", "event": "of a later version"}
    objects.put("sweeps/demo/events/copy.jsonl", data)
    objects.put("sweeps/demo/events/later.jsonl", json.dumps(later).encode())
    assert read_event_log(objects, "demo").left_out == {}
    assert len(read_event_log(objects, "demo").events) == 3
    objects.put("sweeps/demo/events/cut.jsonl", data[:-20])
    objects.put("sweeps/demo/events/empty.jsonl", b"")
    objects.put("sweeps/demo/events/flipped.jsonl", data.replace(b"notice 1", b"notice \xff"))
    objects.put("sweeps/demo/events/old.json", b"{}")
    found = read_event_log(objects, "demo")
    assert [key.rpartition("/")[2] for key in found.left_out] == [
        *("cut.jsonl", "empty.jsonl", "flipped.jsonl", "old.json")
    ]
    assert (
        "1 line of the event log cannot be read (the first is line 2)"
        in found.left_out["sweeps/demo/events/cut.jsonl"]
    )
    assert len(found.events) == 3


def test_a_log_of_an_earlier_version_is_read(objects: ObjectStore) -> None:
    """It had an object per run, with the whole sweep file and nothing about the user."""
    document = {"name": "demo", "seeds": [0, 1]}
    old = {
        "started_at": "2026-11-24T09:12:44+00:00",
        "sweep": document,
        "code_version": "0.1.0+abc",
        "host_kind": "Linux x86_64",
    }
    objects.put("sweeps/demo/events/20261124T091244-1a2b3c.json", json.dumps(old).encode())
    log = EventLog(objects, "demo", "run2")
    log.add(RunStarted(document="d", code_version="c"))
    log.flush(force=True)
    first, second = read_events(objects, "demo")
    assert first.run == "20261124T091244-1a2b3c"
    assert first.time is not None
    assert first.time.isoformat() == old["started_at"]
    assert first.body == RunStarted(
        document=short_id(document), code_version="0.1.0+abc", host_kind="Linux x86_64"
    )
    assert second.run == "run2"
