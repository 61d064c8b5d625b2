"""Files of other schema versions: older ones are lifted step by step, later ones are refused."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeps.results import SCHEMA_VERSION, TABLES, part_key, read_table
from sweeps.results.parquet_files import DamagedFileError, decode
from sweeps.results.rows import to_table
from sweeps.results.schema_versions import (
    VERSIONS,
    Versions,
    adding,
    apply_in_order,
    dropping,
    renaming,
)
from sweeps.storage import open_storage

STAGES = TABLES["stages"]
READABLE = ", ".join(map(str, range(1, SCHEMA_VERSION + 1)))
LATER = Versions(
    3,
    {
        1: {
            "stages": apply_in_order(
                renaming(seconds="wall_s"), adding("cpu_s", pa.float64(), 0.0)
            )
        },
        2: {"stages": dropping("gone"), "trials": dropping("nothing")},
    },
)
"""A code of version 3. In version 1 `wall_s` was called `seconds`, there was no `cpu_s`, and a
column `gone`, which version 2 still had."""


def as_bytes(table, version):
    metadata = {b"table": b"stages", b"schema_version": str(version).encode()}
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    return sink.getvalue()


def lifted(data, schema, versions, encoded=False):
    return decode("results/stages/one.parquet", data, schema, encoded, versions).table


@pytest.fixture
def rows(sample_rows):
    return sample_rows["stages"]


def test_every_earlier_version_has_its_step():
    """A bump without one would lose what is stored."""
    assert VERSIONS.current == SCHEMA_VERSION
    assert sorted(VERSIONS.upgrades) == list(range(1, SCHEMA_VERSION))


def test_files_of_two_versions_ago_are_read_as_if_written_today(rows):
    today = to_table(STAGES, rows)
    old = today.drop_columns(["cpu_s"]).append_column("gone", pa.array([1, 2]))
    names = ["seconds" if name == "wall_s" else name for name in old.column_names]
    old = old.rename_columns(names)
    found = lifted(as_bytes(old, 1), STAGES, LATER)
    assert found.schema.equals(STAGES.arrow, check_metadata=True)
    again = lifted(as_bytes(old, 1), STAGES, LATER, encoded=True)
    assert again.schema.equals(STAGES.encoded)
    assert again.cast(STAGES.arrow).equals(found)
    assert found.to_pylist() == [row | {"cpu_s": 0.0} for row in rows]
    last = today.append_column("gone", pa.array([1, 2]))
    assert lifted(as_bytes(last, 2), STAGES, LATER).equals(today)
    assert lifted(as_bytes(today, 3), STAGES, LATER).equals(today)


def test_a_table_that_did_not_change_in_a_version_is_taken_as_it_is(sample_rows):
    table = to_table(TABLES["evals"], sample_rows["evals"])
    assert LATER.lift(table, TABLES["evals"], 1).equals(table)


def test_an_old_file_whose_columns_do_not_fit_after_all_steps_is_refused(rows):
    """`gone` is missing already, or `cpu_s` is there too early."""
    today = to_table(STAGES, rows)
    with pytest.raises(DamagedFileError, match="its columns are not those of version 2"):
        lifted(as_bytes(today, 2), STAGES, LATER)
    odd = today.append_column("extra", pa.array([1, 2]))
    with pytest.raises(DamagedFileError, match="its columns are not those of the schema"):
        lifted(as_bytes(odd, 3), STAGES, LATER)
    text = today.set_column(1, "parent", pa.array([1, 2]))
    with pytest.raises(DamagedFileError, match="its columns are not those of the schema"):
        lifted(as_bytes(text, 3), STAGES, LATER)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (
            SCHEMA_VERSION + 1,
            f"schema version {SCHEMA_VERSION + 1}, this code reads {READABLE}: update this",
        ),
        ("", f"schema version unknown, this code reads {READABLE}"),
        ("x", f"schema version x, this code reads {READABLE}"),
        (0, "schema version 0, this code reads"),
    ],
)
def test_other_versions_are_refused_by_file_and_the_rest_is_read(tmp_path, rows, version, words):
    store = open_storage(str(tmp_path))
    today = to_table(STAGES, rows)
    bad = part_key("s", "stages", "bad")
    store.put(bad, as_bytes(today, version))
    store.put(part_key("s", "stages", "good"), as_bytes(today, SCHEMA_VERSION))
    read = read_table(store, "s", "stages")
    assert read.table.num_rows == len(rows)
    (warning,) = read.warnings
    assert warning.startswith(f"{bad} is left out: {words}")


def test_stages_of_version_1_have_no_host(tmp_path, rows):
    """A storage that was written before the column came is read as it is."""
    store = open_storage(str(tmp_path))
    old = to_table(STAGES, rows).drop_columns(["host"])
    store.put(part_key("s", "stages", "old"), as_bytes(old, 1))
    read = read_table(store, "s", "stages")
    assert read.warnings == ()
    assert read.table.to_pylist() == [row | {"host": "unknown"} for row in rows]


def test_the_version_is_read_from_the_metadata():
    assert VERSIONS.of({b"schema_version": b"%d" % SCHEMA_VERSION}) == SCHEMA_VERSION
    assert LATER.of({b"schema_version": b"2"}) == 2
