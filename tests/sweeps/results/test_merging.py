"""Merging changes no row, wherever it is stopped and whoever else is at work."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.results import (
    damaged_files,
    merge_results,
    part_key,
    read_table,
    set_aside,
    write_part,
)
from sweeps.results.parquet_files import merged_file, part_bytes
from sweeps.results.rows import to_table
from sweeps.results.schema import TABLES
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.results.eval_rows import eval_row

FOLDER = "sweeps/demo/results/evals"


def write(store: ObjectStore, name: str, rows: int = 2) -> None:
    write_part(store, "demo", "evals", name, [eval_row(name, k) for k in range(rows)])


def table(store: ObjectStore) -> pa.Table:
    read = read_table(store, "demo", "evals")
    assert read.damaged == ()
    return read.table


def merge(store: ObjectStore, least: int = 2, most_rows: int = 1000) -> None:
    merge_results(store, "demo", least=least, most_rows=most_rows)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_storage(str(tmp_path))


class Watched:
    """A store that calls back before every operation that changes it."""

    def __init__(self, store: ObjectStore, before: Callable[[], None]) -> None:
        self._store, self._before, self._lock = store, before, Lock()

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._store, name)
        if name == "delete_all":  # on buckets it may break off anywhere, too

            def one_by_one(keys: Sequence[str]) -> None:
                for key in keys:
                    self._before()
                    operation([key])

            return one_by_one
        if name not in {"put", "put_if_absent", "move"}:
            return operation

        def watched(*arguments: Any) -> Any:
            with self._lock:
                self._before()
            return operation(*arguments)

        return watched


def eight_parts(store: ObjectStore, five_merged: bool) -> pa.Table:
    """Parts a to h, of which five were merged before or none; the table that they make."""
    for name in "hcagf":
        write(store, name)
    if five_merged:
        merge(store)
    for name in "bed":
        write(store, name)
    return table(store)


KINDS = pytest.mark.parametrize(("five_merged", "most_rows"), [(False, 4), (True, 1000)])
"""Eight parts into four files; one file and three parts into one."""


class Killed(BaseException):
    """Nothing catches it."""


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6),
            st.integers(2, 5),
            st.sampled_from([3, 8, 1000]),
        ),
        max_size=5,
    )
)
def test_a_reader_cannot_tell_what_was_merged(tmp_path_factory, rounds) -> None:
    """Parts come in rounds, some of them again, and are merged or not after each."""
    plain = open_storage(str(tmp_path_factory.mktemp("plain")))
    merged = open_storage(str(tmp_path_factory.mktemp("merged")))
    for names, least, most_rows in rounds:
        for name in names:
            write(plain, name, rows=ord(name) % 4 + 1)
            write(merged, name, rows=ord(name) % 4 + 1)
        merge(merged, least, most_rows)
        assert table(merged).equals(table(plain), check_metadata=True)
        encoded = read_table(merged, "demo", "evals", encoded=True).table
        assert encoded.schema.equals(TABLES["evals"].encoded, check_metadata=True)
        assert encoded.to_pylist() == table(plain).to_pylist()


def test_few_files_are_left_alone_and_many_become_one(store) -> None:
    for name in "abc":
        write(store, name)
    merge(store, least=4)
    assert len(list(store.list())) == 3
    merge(store, least=3)
    (only,) = store.list()
    assert only.startswith(f"{FOLDER}/merged/")
    merge(store)
    assert list(store.list()) == [only]


def test_full_files_are_not_written_again(store) -> None:
    for name in "abcdef":
        write(store, name)
    merge(store, most_rows=4)  # two parts each
    first = set(store.list())
    assert len(first) == 3
    for name in "gh":
        write(store, name)
    merge(store, most_rows=4)
    assert first < set(store.list())


@KINDS
def test_every_moment_of_a_merge_shows_the_same_rows(five_merged, most_rows, store) -> None:
    expected = eight_parts(store, five_merged)
    seen = []
    watched = Watched(store, lambda: seen.append(table(store).equals(expected)))
    merge(watched, most_rows=most_rows)
    assert seen == [True] * (5 if five_merged else 12)
    assert table(store).equals(expected)


@KINDS
def test_killed_anywhere_nothing_is_lost_and_the_next_one_finishes(
    five_merged, most_rows, tmp_path
) -> None:
    moments = 5 if five_merged else 12
    for moment in range(moments + 1):
        store = open_storage(str(tmp_path / str(moment)))
        expected = eight_parts(store, five_merged)
        left = iter(range(moment))

        def kill(left=left) -> None:
            if next(left, None) is None:
                raise Killed

        if moment == moments:
            merge(Watched(store, kill), most_rows=most_rows)
        else:
            with pytest.raises(Killed):
                merge(Watched(store, kill), most_rows=most_rows)
        assert table(store).equals(expected)
        merge(store, most_rows=most_rows)
        assert table(store).equals(expected)
        assert sum("/merged/" not in key for key in store.list()) < 2  # one alone is no merge


@KINDS
def test_two_at_once_lose_nothing_whenever_the_other_comes(
    five_merged, most_rows, tmp_path
) -> None:
    """Before each change of one merge, another one runs whole, over one part more."""
    for moment in range(5 if five_merged else 12):
        store = open_storage(str(tmp_path / str(moment)))
        eight_parts(store, five_merged)
        calls = count()

        def other(store=store, calls=calls, moment=moment) -> None:
            if next(calls) == moment:
                write(store, "ba")
                merge(store, most_rows=6)

        merge(Watched(store, other), most_rows=most_rows)
        stages = table(store)["stage_key"].to_pylist()
        assert stages == sorted([*"abcdefgh", "ba"] * 2)
        merge(store)
        assert table(store)["stage_key"].to_pylist() == stages
        assert len(list(store.list())) == 1


def test_a_reader_with_an_old_list_looks_again(store) -> None:
    for name in "abc":
        write(store, name)
    expected = table(store)

    class Late:
        """Lists, and lets another merge before anything is read."""

        def __init__(self) -> None:
            self.behind = True

        def list(self, prefix: str) -> list[str]:
            keys = list(store.list(prefix))
            if self.behind:
                self.behind = False
                merge(store)
            return keys

        def get(self, key: str) -> bytes:
            return store.get(key)

        get_immutable = get
        recent = store.recent
        non_files = store.non_files

    assert table(Late()).equals(expected)


def test_a_part_that_is_written_again_counts_once(store) -> None:
    for name in "abc":
        write(store, name)
    expected = table(store)
    merge(store)
    write(store, "b")  # a driver that resumes does this
    assert table(store).equals(expected)
    merge(store)
    assert len(list(store.list())) == 1
    assert table(store).equals(expected)


def test_a_damaged_part_is_left_and_named(store) -> None:
    for name in "abc":
        write(store, name)
    store.put(part_key("demo", "evals", "b"), b"broken")
    merge(store)
    read = read_table(store, "demo", "evals")
    assert read.damaged == (part_key("demo", "evals", "b"),)
    assert read.table["stage_key"].unique().to_pylist() == ["a", "c"]
    assert list(damaged_files(store, "demo")) == list(read.damaged)


@pytest.mark.parametrize("place", [0, 100, -20, None])
def test_a_damaged_merged_file_is_named_and_can_be_set_aside(place, store) -> None:
    for name in "abc":
        write(store, name)
    merge(store)
    write(store, "d")
    (key,) = (key for key in store.list() if "/merged/" in key)
    data = bytearray(store.get(key))
    if place is None:
        data = data[: len(data) // 2]
    else:
        data[place] ^= 1
    store.put(key, bytes(data))
    merge(store)
    read = read_table(store, "demo", "evals")
    assert read.damaged == (key,)
    assert "not those that were written" in read.warnings[0]
    assert read.table["stage_key"].unique().to_pylist() == ["d"]
    assert list(damaged_files(store, "demo")) == [key]
    set_aside(store, [key])
    for name in "abc":
        write(store, name)
    assert table(store)["stage_key"].unique().to_pylist() == [*"abcd"]
    assert any(
        name.startswith("sweeps/demo/results/damaged/evals-merged-") for name in store.list()
    )


def test_a_broken_file_under_the_merged_name_is_replaced_before_parts_go(store) -> None:
    for name in "abc":
        write(store, name)
    expected = table(store)
    kept = {key: store.get(key) for key in store.list()}
    merge(store)
    (key,) = store.list()
    store.put(key, b"rotten")
    for name, data in kept.items():
        store.put(name, data)
    merge(store)
    assert list(store.list()) == [key]
    assert table(store).equals(expected)


def test_files_with_other_descriptions_merge_with_those_of_today(store: ObjectStore) -> None:
    """Descriptions are metadata of the columns; a change of their text is no change of schema."""
    schema = TABLES["evals"]
    columns = [replace(column, doc=f"earlier {column.doc}") for column in schema.columns]
    earlier = replace(schema, columns=tuple(columns)).arrow
    tables = {n: to_table(schema, [eval_row(n, k) for k in range(2)]) for n in "abcd"}
    old = {name: tables[name].cast(earlier) for name in "abc"}
    key, content = merged_file(FOLDER, [("a", old["a"]), ("b", old["b"])])
    assert pq.read_schema(io.BytesIO(content)).equals(earlier, check_metadata=True)
    store.put(key, content)
    store.put(part_key("demo", "evals", "c"), part_bytes(old["c"]))
    write(store, "d")
    before = table(store)
    assert before.schema.equals(schema.arrow, check_metadata=True)
    merge(store)
    assert damaged_files(store, "demo") == {}
    assert table(store).equals(before, check_metadata=True)
    assert before.to_pylist() == [eval_row(name, k) for name in "abcd" for k in range(2)]
