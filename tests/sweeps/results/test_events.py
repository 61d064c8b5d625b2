"""The event log: what was added is read back, in order, whatever is damaged beside it."""

from __future__ import annotations

import json

import pytest

from sweeps.results import events
from sweeps.results.events import FLUSH_EVERY_S, EventLog, read_events
from sweeps.storage import ObjectStore, open_storage


@pytest.fixture
def objects() -> ObjectStore:
    return open_storage("memory://")


def test_events_are_read_in_order_with_their_fields(objects: ObjectStore) -> None:
    log = EventLog(objects, "demo", "run1")
    log.add("run_started", user="ada", only=["a*"])
    log.add("stage", key="ab", seconds=1.5)
    log.flush(force=True)
    log.add("run_ended", trained=1)
    log.flush(force=True)
    found = list(read_events(objects, "demo"))
    assert [(event.run, event.kind) for event in found] == [
        ("run1", "run_started"),
        ("run1", "stage"),
        ("run1", "run_ended"),
    ]
    assert found[0].fields == {"user": "ada", "only": ["a*"]}
    assert found[1].at >= found[0].at
    assert list(read_events(objects, "other")) == []


def test_lines_are_written_when_they_are_due_and_in_few_objects(objects: ObjectStore) -> None:
    now = [0.0]
    log = EventLog(objects, "demo", "run1", clock=lambda: now[0])
    log.flush()
    log.add("stage")
    log.flush()
    assert list(objects.list()) == []
    for _ in range(5):
        now[0] += FLUSH_EVERY_S
        log.add("stage")
        now[0] += FLUSH_EVERY_S
        log.flush()
    assert len(list(objects.list())) == 1
    assert len(list(read_events(objects, "demo"))) == 6


def test_a_full_object_is_followed_by_another(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "OBJECT_BYTES", 200)
    log = EventLog(objects, "demo", "run1")
    for number in range(10):
        log.add("stage", number=number)
        log.flush(force=True)
    assert len(list(objects.list())) > 2
    assert [event.fields["number"] for event in read_events(objects, "demo")] == list(range(10))


def test_a_storage_that_fails_costs_no_event(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    log = EventLog(objects, "demo", "run1", clock=lambda: now[0])
    log.add("stage")

    def fail(self: ObjectStore, key: str, data: bytes) -> None:
        raise ConnectionError("down")

    with monkeypatch.context() as broken:
        broken.setattr(ObjectStore, "put", fail)
        log.flush(force=True)
    log.flush()
    assert list(read_events(objects, "demo")) == []
    now[0] += FLUSH_EVERY_S
    log.flush()
    assert [event.kind for event in read_events(objects, "demo")] == ["stage"]


def test_damaged_lines_are_left_out(objects: ObjectStore) -> None:
    good = json.dumps({"at": "t", "run": "r", "event": "stage", "n": 1})
    lines = ["{", "[]", '{"at": "t"}', good, "\ufffd"]
    objects.put("sweeps/demo/events/x.jsonl", "\n".join(lines).encode())
    objects.put("sweeps/demo/events/y.json", b"{}")
    (event,) = read_events(objects, "demo")
    assert (event.kind, event.fields) == ("stage", {"n": 1})
