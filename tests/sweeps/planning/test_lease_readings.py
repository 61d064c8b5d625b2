"""Leases as a reader sees them: the newest generation, and whether the beat moves."""

from __future__ import annotations

import json
import socket

import pytest

from sweeps.planning.lease_readings import (
    LATENCY_S,
    MISSED_BEATS,
    Beat,
    Sign,
    look_again,
    read_beats,
)
from sweeps.stages.leases import BEATS_PER_LIFE, LeaseTable
from sweeps.storage import ObjectStore, open_storage

TTL_S = 8.0
PERIOD_S = TTL_S / BEATS_PER_LIFE
FOLDER = "leases"


@pytest.fixture
def objects() -> ObjectStore:
    return open_storage("memory://")


class Time:
    """A clock that moves only while somebody sleeps; `then` happens at a time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def take(objects: ObjectStore, key: str, owner: str = "driver:trial") -> Beat:
    lease = LeaseTable(objects, TTL_S).acquire(key, owner)
    assert lease is not None
    return read_beats(objects, FOLDER).by_key[key]


def beat_on(objects: ObjectStore, beat: Beat) -> None:
    fields = json.loads(objects.get(beat.name))
    objects.put(beat.name, json.dumps(fields | {"beat": fields["beat"] + 1}).encode())


def test_a_lease_says_who_holds_it_where_and_since_when(objects: ObjectStore) -> None:
    beat = take(objects, "ab")
    assert (beat.owner, beat.host, beat.number) == ("driver:trial", socket.gethostname(), 0)
    assert beat.time_to_live_s == TTL_S
    assert beat.since is not None
    assert beat.held_s is not None
    assert 0 <= beat.held_s < 1


def test_the_newest_generation_counts_unless_it_was_declared_expired(
    objects: ObjectStore,
) -> None:
    table = LeaseTable(objects, TTL_S)
    take(objects, "ab", "first")
    table.expire("ab", 0)
    assert read_beats(objects, FOLDER).by_key == {}
    take(objects, "ab", "second")
    assert read_beats(objects, FOLDER).by_key["ab"].owner == "second"
    assert read_beats(objects, FOLDER).by_key["ab"].name == "leases/ab/1"


def test_only_chosen_leases_are_read(objects: ObjectStore) -> None:
    for key in ("ab", "cd"):
        take(objects, key)
    assert set(read_beats(objects, FOLDER, lambda key: key == "cd").by_key) == {"cd"}


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"owner": 3}'])
def test_what_is_no_lease_is_passed_over(objects: ObjectStore, content: bytes) -> None:
    objects.put("leases/ab/0", content)
    found = read_beats(objects, FOLDER).by_key
    assert not found or (found["ab"].owner, found["ab"].held_s) == ("3", None)


def test_a_lease_of_an_earlier_version_has_no_host_and_no_time(objects: ObjectStore) -> None:
    fields = {"owner": "driver", "lease": "x", "time_to_live_s": TTL_S, "beat": 4}
    objects.put("leases/ab/0", json.dumps(fields).encode())
    beat = read_beats(objects, FOLDER).by_key["ab"]
    assert (beat.owner, beat.host, beat.held_s, beat.number) == ("driver", "", None, 4)


def test_an_owner_whose_beat_moves_is_alive(objects: ObjectStore) -> None:
    beat, time = take(objects, "ab"), Time()
    beat_on(objects, beat)
    ((sign, last),) = look_again(objects, [beat], 0.0, time.clock, time.sleep).values()
    assert (sign, last.number) == (Sign.ALIVE, 1)
    assert time.slept == []


def test_an_owner_is_given_time_for_its_next_beat(objects: ObjectStore) -> None:
    beat, time = take(objects, "ab"), Time()

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if time.now >= 2 * PERIOD_S:  # it looked once in place of a beat
            beat_on(objects, beat)

    found = look_again(objects, [beat], 0.0, time.clock, sleep)
    assert found[beat.name][0] is Sign.ALIVE


def test_an_owner_whose_beat_stands_still_is_silent(objects: ObjectStore) -> None:
    beat, time = take(objects, "ab"), Time()
    found = look_again(objects, [beat], 0.0, time.clock, time.sleep)
    assert found[beat.name] == (Sign.SILENT, beat)
    longest = MISSED_BEATS * PERIOD_S + LATENCY_S
    assert longest <= time.now < longest + PERIOD_S


def test_time_spent_on_other_reading_counts(objects: ObjectStore) -> None:
    beat, time = take(objects, "ab"), Time()
    time.now = 100.0
    found = look_again(objects, [beat], 0.0, time.clock, time.sleep)
    assert (found[beat.name][0], time.slept) == (Sign.SILENT, [])


def test_a_lease_that_was_given_back_has_ended(objects: ObjectStore) -> None:
    beat, time = take(objects, "ab"), Time()
    objects.delete(beat.name)
    found = look_again(objects, [beat], 0.0, time.clock, time.sleep)
    assert found[beat.name][0] is Sign.ENDED


def test_without_leases_nobody_is_waited_for(objects: ObjectStore) -> None:
    time = Time()
    assert look_again(objects, [], 0.0, time.clock, time.sleep) == {}
    assert time.slept == []


@pytest.mark.parametrize("stated", ["NaN", "Infinity"])
def test_a_lease_that_is_no_json_is_not_read(objects: ObjectStore, stated: str) -> None:
    objects.put("leases/ab/0", f'{{"owner": "x", "time_to_live_s": {stated}}}'.encode())
    assert read_beats(objects, FOLDER).by_key == {}


@pytest.mark.parametrize("stated", ["-3", "1e12"])
def test_a_time_to_live_that_cannot_hold_is_not_waited_for(
    objects: ObjectStore, stated: str
) -> None:
    objects.put("leases/ab/0", f'{{"owner": "x", "time_to_live_s": {stated}}}'.encode())
    beat, time = read_beats(objects, FOLDER).by_key["ab"], Time()
    found = look_again(objects, [beat], time.now, time.clock, time.sleep)
    assert found[beat.name][0] is Sign.SILENT
    assert time.now < 2 * LATENCY_S
    assert all(0 < pause < LATENCY_S for pause in time.slept)
