"""Parts are written once; damaged ones are named and the rest is read."""

from __future__ import annotations

import io
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeps.results import (
    SCHEMA_VERSION,
    TABLES,
    InvalidRowsError,
    latest_trials,
    part_key,
    read_table,
    set_aside,
    trial_part_id,
    write_part,
)
from sweeps.storage import ObjectStore, open_storage


@pytest.fixture
def store(tmp_path) -> ObjectStore:
    return open_storage(str(tmp_path / "storage"))


def write_two(store, rows):
    """Parts `a` and `b`, with one row each."""
    for part, row in zip("ab", rows, strict=True):
        assert write_part(store, "demo", "evals", part, [row])


@pytest.mark.parametrize("name", TABLES)
def test_what_is_written_is_read(name, store, sample_rows):
    rows = sample_rows[name]
    assert write_part(store, "demo", name, "b", rows[1:])
    assert write_part(store, "demo", name, "a", rows[:1])
    result = read_table(store, "demo", name)
    assert result.table.schema.equals(TABLES[name].arrow, check_metadata=True)
    assert result.table.to_pylist() == rows  # in the order of the names, not of writing
    assert result.damaged == result.warnings == ()


def test_a_sweep_without_parts_has_empty_tables(store):
    result = read_table(store, "demo", "trials")
    assert result.table.num_rows == 0
    assert result.table.schema.names == TABLES["trials"].arrow.names
    assert latest_trials(result.table).num_rows == 0


def test_the_first_writer_stays(store, sample_rows):
    first, second = sample_rows["evals"]
    assert write_part(store, "demo", "evals", "a", [first])
    assert not write_part(store, "demo", "evals", "a", [second])
    assert read_table(store, "demo", "evals").table.to_pylist() == [first]


def test_equal_rows_are_equal_bytes(store, sample_rows):
    for sweep in ("one", "two"):
        write_part(store, sweep, "trials", "a", sample_rows["trials"])
    one, two = (store.get(part_key(sweep, "trials", "a")) for sweep in ("one", "two"))
    assert one == two


def test_rows_that_do_not_fit_leave_no_part(store, sample_rows):
    with pytest.raises(InvalidRowsError):
        write_part(store, "demo", "evals", "a", [sample_rows["evals"][0] | {"extra": 1}])
    assert list(store.list()) == []


def test_sweeps_and_unknown_tables_are_kept_apart(store, sample_rows):
    write_two(store, sample_rows["evals"])
    assert read_table(store, "dem", "evals").table.num_rows == 0
    with pytest.raises(KeyError, match="eval"):
        write_part(store, "demo", "eval", "a", [])


LATER = SCHEMA_VERSION + 1


def of_a_later_version(data: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    metadata = table.schema.metadata | {b"schema_version": b"%d" % LATER}
    return parquet(table.replace_schema_metadata(metadata))


def without_a_column(data: bytes) -> bytes:
    return parquet(pq.read_table(pa.BufferReader(data)).drop_columns(["n"]))


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


DAMAGE = {
    "truncated": (lambda data: data[: len(data) // 2], "not a readable Parquet file"),
    "empty": (lambda data: b"", "not a readable Parquet file"),
    "text": (lambda data: b"hello", "not a readable Parquet file"),
    "foreign": (lambda data: parquet(pa.table({"x": [1]})), "not a part of the table evals"),
    "newer": (of_a_later_version, f"schema version {LATER}, this code reads 1"),
    "narrower": (without_a_column, "its columns are not those of the schema"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_part_is_named_and_the_rest_is_used(damage, reason, store, sample_rows):
    write_two(store, sample_rows["evals"])
    key = part_key("demo", "evals", "b")
    store.put(key, damage(store.get(key)))
    result = read_table(store, "demo", "evals")
    assert result.table.to_pylist() == sample_rows["evals"][:1]
    assert result.damaged == (key,)
    assert key in result.warnings[0]
    assert reason in result.warnings[0]


def test_a_damaged_part_can_be_set_aside_and_written_anew(store, sample_rows):
    write_two(store, sample_rows["evals"])
    key = part_key("demo", "evals", "b")
    store.put(key, b"broken")
    assert not write_part(store, "demo", "evals", "b", sample_rows["evals"][1:])
    set_aside(store, read_table(store, "demo", "evals").damaged)
    assert write_part(store, "demo", "evals", "b", sample_rows["evals"][1:])
    result = read_table(store, "demo", "evals")
    assert result.table.to_pylist() == sample_rows["evals"]
    assert result.damaged == ()
    assert store.get("sweeps/demo/results/damaged/evals-b.parquet") == b"broken"


def test_no_flipped_bit_changes_a_value_unnoticed(store, sample_rows):
    write_part(store, "demo", "evals", "a", sample_rows["evals"])
    key = part_key("demo", "evals", "a")
    sound = store.get(key)
    draw = random.Random(0)
    noticed = 0
    for _ in range(300):
        flipped = bytearray(sound)
        flipped[draw.randrange(len(sound))] ^= 1 << draw.randrange(8)
        store.put(key, bytes(flipped))
        result = read_table(store, "demo", "evals")
        noticed += len(result.damaged)
        assert result.damaged or result.table.to_pylist() == sample_rows["evals"]
    assert noticed > 100  # the rest hit statistics and padding


def test_the_last_attempt_of_each_trial_counts(sample_rows):
    first, second = sample_rows["trials"]
    other = first | {"trial_id": "a1", "attempt": 10}
    rows = [second, other, first, other | {"attempt": 9}]
    table = pa.Table.from_pylist(rows, schema=TABLES["trials"].arrow)
    assert latest_trials(table).to_pylist() == [second, other]
    assert trial_part_id("t0", 2) == "t0-2"


def test_results_need_neither_torch_nor_ray():
    code = (
        "import sys, sweeps.results; "
        "sys.exit(bool({'torch', 'timm', 'ray', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
