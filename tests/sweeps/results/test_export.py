"""Single files for other tools."""

from __future__ import annotations

import csv
import json

import pyarrow.parquet as pq
import pytest

from sweeps.results import TABLES, export_table
from sweeps.results.rows import to_table


@pytest.mark.parametrize("name", TABLES)
def test_parquet_keeps_rows_and_docs(name, tmp_path, sample_rows):
    table = to_table(TABLES[name], sample_rows[name])
    path = export_table(table, name, tmp_path / "out", "parquet")
    assert path == tmp_path / "out" / f"{name}.parquet"
    again = pq.read_table(path)
    assert again.to_pylist() == sample_rows[name]
    assert again.schema.field(0).metadata[b"doc"]


@pytest.mark.parametrize("name", TABLES)
def test_csv_has_lists_as_json_and_quotes_what_needs_it(name, tmp_path, sample_rows):
    path = export_table(to_table(TABLES[name], sample_rows[name]), name, tmp_path, "csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for read, given in zip(rows, sample_rows[name], strict=True):
        for column, value in given.items():
            if isinstance(value, list):
                assert json.loads(read[column]) == value
            elif isinstance(value, str):
                assert read[column] == value
            elif value is None:
                assert read[column] == ""


def test_another_format_is_refused(tmp_path, sample_rows):
    table = to_table(TABLES["evals"], sample_rows["evals"])
    with pytest.raises(ValueError, match="format must be one of"):
        export_table(table, "evals", tmp_path, "xlsx")
