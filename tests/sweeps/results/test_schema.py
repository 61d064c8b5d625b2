"""The schemas say what they hold, and rows that do not fit are refused with their place."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sweeps.results import SCHEMA_VERSION, TABLES, InvalidRowsError, describe
from sweeps.results.rows import to_table


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_has_its_doc_and_the_schema_its_version(table):
    schema = table.arrow
    assert schema.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
    assert schema.metadata[b"table"] == table.name.encode()
    assert len(set(schema.names)) == len(schema.names)
    assert set(table.key) <= set(schema.names)
    for column in table.columns:
        assert column.doc.endswith(".")
        assert schema.field(column.name).metadata == {b"doc": column.doc.encode()}


def test_i37_no_accuracy_is_stored():
    """Counts are stored; the only real numbers are losses, norms, weights, costs."""
    names = {c.name for table in TABLES.values() for c in table.columns}
    assert not {n for n in names if "accuracy" in n or "percent" in n or "rate" in n}
    assert not any(pa.types.is_floating(f.type) for f in TABLES["evals"].arrow)


def test_the_description_has_every_column():
    text = describe()
    for table in TABLES.values():
        assert f"### {table.name}" in text
        for column in table.columns:
            assert f"| `{column.name}` | " in text
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}
    assert "list of int16" in text


@pytest.mark.parametrize("name", TABLES)
def test_sample_rows_survive(name, sample_rows):
    rows = sample_rows[name]
    table = to_table(TABLES[name], rows)
    assert table.schema.equals(TABLES[name].arrow, check_metadata=True)
    assert table.to_pylist() == rows


@pytest.mark.parametrize("name", TABLES)
def test_no_rows_are_an_empty_table(name):
    assert to_table(TABLES[name], []).num_rows == 0


def test_wrong_names_are_refused_with_the_nearest_right_one(sample_rows):
    first, second = sample_rows["evals"]
    misspelt = {("corect" if k == "correct" else k): v for k, v in second.items()}
    with pytest.raises(
        InvalidRowsError,
        match=r"evals, row 1 lacks correct; has the unknown corect.*Did you mean 'correct'",
    ):
        to_table(TABLES["evals"], [first, misspelt])


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("evals", {"n": None}),
        ("evals", {"n": 1.5}),
        ("evals", {"n": "many"}),
        ("evals", {"n": True}),
        ("evals", {"class_id": 2**40}),
        ("evals", {"split": "train"}),
        ("evals", {"seen": None}),
        ("trials", {"role": "other"}),
        ("trials", {"readout_ids": "last"}),
        ("trials", {"task_order": [0, None]}),
        ("trials", {"task_order": [0, 1.5]}),
        ("trials", {"label": 7}),
        ("matrices", {"omega": None}),
    ],
)
def test_values_that_do_not_fit_are_refused(table, change, sample_rows):
    (name,) = change
    rows = [sample_rows[table][0] | change]
    with pytest.raises(InvalidRowsError, match=f"{table}.{name}"):
        to_table(TABLES[table], rows)


@pytest.mark.parametrize(
    "change",
    [
        {"correct": 31},
        {"correct": -1},
        {"correct_task_given": 31},
        {"task_id_correct": 31},
        {"correct": None},
        {"seen": False},
    ],
)
def test_i37_counts_that_make_no_fraction_are_refused(change, sample_rows):
    with pytest.raises(InvalidRowsError, match=r"must hold|if and only if"):
        to_table(TABLES["evals"], [sample_rows["evals"][0] | change])


def test_whole_numbers_of_any_size_are_floats_where_the_column_is_one(sample_rows):
    """JSON has 1e30 as an integer; Arrow converts no integer of more than 64 bits."""
    (row, *_) = sample_rows["stages"]
    table = to_table(TABLES["stages"], [row | {"cross_entropy": int(1e30), "grad_norm": 3}])
    assert table["cross_entropy"].to_pylist() == [1e30]
    (row, *_) = sample_rows["matrices"]
    table = to_table(TABLES["matrices"], [row | {"omega": [int(1e30), 1]}])
    assert table["omega"].to_pylist() == [[1e30, 1.0]]
    for value in (2**64 + 1, 10**400):  # no float has these values
        with pytest.raises(InvalidRowsError, match=r"stages\.cross_entropy"):
            to_table(TABLES["stages"], [sample_rows["stages"][0] | {"cross_entropy": value}])
