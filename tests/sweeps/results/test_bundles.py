"""Bundles: the parts of a stage in one object, which readers and merging see as parts."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.results import (
    bundle_key,
    damaged_files,
    merge_results,
    read_table,
    read_tables,
    set_aside,
    write_bundle,
    write_part,
)
from sweeps.results.bundles import BUNDLED
from sweeps.storage import ObjectStore, open_storage
from sweeps.storage.object_cache import RecentObjects
from tests.sweeps.results.eval_rows import eval_row
from tests.sweeps.results.test_merging import Killed, Watched

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_storage(str(tmp_path / "storage"))


@pytest.fixture
def write(sample_rows: Rows) -> Callable[..., bool]:
    """Writes the bundle of a stage with one row in each table."""

    def write(store: ObjectStore, stage: str) -> bool:
        row = {"stage_key": stage}
        parts = {
            ("stages", stage): [sample_rows["stages"][0] | row],
            ("matrices", stage): [sample_rows["matrices"][0] | row],
            ("evals", f"{stage}-e"): [eval_row(stage, 0), eval_row(stage, 1)],
        }
        return write_bundle(store, "demo", f"{stage}-e", parts)

    return write


def stages_in(store: ObjectStore) -> dict[str, list[str]]:
    """The stages of each table, in its order; every file must be readable."""
    reads = read_tables(store, "demo", BUNDLED)
    assert [read.warnings for read in reads.values()] == [()] * len(BUNDLED)
    return {name: read.table["stage_key"].to_pylist() for name, read in reads.items()}


def expected(stages: str) -> dict[str, list[str]]:
    return {
        "stages": list(stages),
        "matrices": list(stages),
        "evals": [s for s in stages for _ in range(2)],
    }


def test_its_rows_are_in_their_tables(store, write, sample_rows) -> None:
    assert write(store, "b")
    assert write(store, "a")
    assert not write(store, "a")  # the same rows again
    assert stages_in(store) == expected("ab")
    alone = read_table(store, "demo", "evals").table
    assert alone.equals(read_tables(store, "demo", BUNDLED)["evals"].table)
    assert read_table(store, "demo", "stages").table.to_pylist()[0] == (
        sample_rows["stages"][0] | {"stage_key": "a"}
    )
    assert len(list(store.list())) == 2


def test_a_bundle_is_a_zip_of_parquet_files_with_equal_bytes_for_equal_rows(
    store, write, tmp_path
) -> None:
    other = open_storage(str(tmp_path / "other"))
    write(store, "a")
    write(other, "a")
    data = store.get(bundle_key("demo", "a-e"))
    assert data == other.get(bundle_key("demo", "a-e"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    assert names == ["evals/a-e.parquet", "matrices/a.parquet", "stages/a.parquet"]


def test_a_part_and_a_bundle_that_hold_the_same_count_once(store, write, sample_rows) -> None:
    """An earlier version wrote parts; a run that continues writes bundles of the same stages."""
    write_part(store, "demo", "stages", "a", [sample_rows["stages"][0] | {"stage_key": "a"}])
    write_part(store, "demo", "evals", "a-e", [eval_row("a", 0), eval_row("a", 1)])
    write(store, "a")
    assert stages_in(store) == expected("a")
    merge_results(store, "demo", least=2)
    assert stages_in(store) == expected("a")


@pytest.mark.parametrize(
    "spoil",
    [lambda d: d[:-30], lambda d: b"", lambda d: d[:60] + b"xx" + d[62:], lambda d: b"zip"],
)
def test_a_damaged_bundle_is_named_set_aside_and_written_anew(store, write, spoil) -> None:
    for stage in "abc":
        write(store, stage)
    key = bundle_key("demo", "b-e")
    store.put(key, spoil(store.get(key)))
    for name, read in read_tables(store, "demo", BUNDLED).items():
        assert read.damaged == (key,), name
        assert read.warnings[0].startswith(f"{key} is left out: ")
        assert read.table["stage_key"].unique().to_pylist() == ["a", "c"]
    assert read_table(store, "demo", "trials").warnings == ()
    merge_results(store, "demo", least=2)
    assert list(damaged_files(store, "demo")) == [key]
    set_aside(store, [key])
    assert store.exists("sweeps/demo/results/damaged/bundles-b-e.zip")
    assert write(store, "b")
    assert stages_in(store) == expected("abc")
    merge_results(store, "demo", least=2)  # the damaged bytes are not remembered
    assert stages_in(store) == expected("abc")
    assert sum("/bundles/" in name for name in store.list("sweeps/demo/results")) == 0


def test_merging_takes_bundles_apart(store, write) -> None:
    for stage in "cab":
        write(store, stage)
    before = read_tables(store, "demo", BUNDLED, encoded=True)
    assert merge_results(store, "demo", least=4).written == 0
    assert merge_results(store, "demo", least=2).written == 3
    after = read_tables(store, "demo", BUNDLED, encoded=True)
    assert {n: r.table for n, r in after.items()} == {n: r.table for n, r in before.items()}
    assert sorted(name.split("/")[3] for name in store.list()) == sorted(BUNDLED)
    write(store, "d")
    merge_results(store, "demo", least=2)
    assert stages_in(store) == expected("abcd")
    assert len(list(store.list())) == 3
    assert merge_results(store, "demo", least=2).written == 0


MOMENTS = 3 + 4
"""Changes of a merge of four bundles: three files are put, then the bundles go."""


def four(store: ObjectStore, write: Callable[..., bool]) -> None:
    for stage in "abcd":
        write(store, stage)


def test_every_moment_of_a_merge_of_bundles_shows_the_same_rows(store, write) -> None:
    four(store, write)
    seen = []
    watched = Watched(store, lambda: seen.append(stages_in(store)))
    merge_results(watched, "demo", least=2)
    assert seen == [expected("abcd")] * MOMENTS
    assert stages_in(store) == expected("abcd")


def test_a_merge_of_bundles_may_be_killed_anywhere(write, tmp_path) -> None:
    for moment in range(MOMENTS):
        store = open_storage(str(tmp_path / str(moment)))
        four(store, write)
        left = iter(range(moment))

        def kill(left=left) -> None:
            if next(left, None) is None:
                raise Killed

        with pytest.raises(Killed):
            merge_results(Watched(store, kill), "demo", least=2)
        assert stages_in(store) == expected("abcd")
        merge_results(store, "demo", least=2)
        assert stages_in(store) == expected("abcd")


def test_another_merge_may_come_at_any_moment(write, tmp_path) -> None:
    for moment in range(MOMENTS):
        store = open_storage(str(tmp_path / str(moment)))
        four(store, write)
        left = iter(range(moment))

        def other(store=store, left=left) -> None:
            if next(left, "now") == "now":
                write(store, "e")
                merge_results(store, "demo", least=2)

        merge_results(Watched(store, other), "demo", least=2)
        assert stages_in(store) == expected("abcde")
        merge_results(store, "demo", least=2)
        assert stages_in(store) == expected("abcde")
        assert len(list(store.list())) == 3


def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are read from here on."""
    keys: list[str] = []
    whole = ObjectStore.get
    monkeypatch.setattr(ObjectStore, "get", lambda s, key: (keys.append(key), whole(s, key))[1])
    return keys


def test_a_bundle_is_fetched_once_for_all_tables(store, write, monkeypatch) -> None:
    four(store, write)
    keys = fetched(monkeypatch)
    merge_results(store, "demo", least=2)
    bundles = [key for key in keys if "/bundles/" in key]
    assert sorted(bundles) == [bundle_key("demo", f"{stage}-e") for stage in "abcd"]


def test_what_does_not_fit_into_memory_is_fetched_for_each_table(
    store, write, monkeypatch
) -> None:
    four(store, write)
    store.recent = RecentObjects(limit=len(store.get(bundle_key("demo", "a-e"))))
    keys = fetched(monkeypatch)
    merge_results(store, "demo", least=2)
    assert len([key for key in keys if "/bundles/" in key]) == 1 + 3 * 4
    monkeypatch.undo()
    assert stages_in(store) == expected("abcd")


def test_a_merged_file_is_read_once_and_damage_by_others_is_found_by_a_new_process(
    store, write, monkeypatch, tmp_path
) -> None:
    four(store, write)
    merge_results(store, "demo", least=2)
    stages_in(store)
    keys = fetched(monkeypatch)
    assert stages_in(store) == expected("abcd")
    assert keys == []
    monkeypatch.undo()
    (merged,) = store.list("sweeps/demo/results/stages")
    (tmp_path / "storage" / merged).write_bytes(b"broken")
    assert merged in damaged_files(store, "demo")
    again = open_storage(store.location)
    assert read_table(again, "demo", "stages").damaged == (merged,)
