"""Single files for other tools."""

from __future__ import annotations

import csv
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeps.results import TABLES, export_table
from sweeps.results.export import json_lines, numbered
from sweeps.results.query import query
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


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "-"]
TEXTS = ["-0.5", "+3", "-1e-7", "-.5", "1-0", "a=b", "'=1", "", "[1]", " =1", "rank 8"]


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_csv_escapes_what_a_spreadsheet_would_run(tmp_path):
    """In texts, repeated texts, lists of texts, and names. Numbers stay numbers."""
    texts = pa.array([*FORMULAS, *TEXTS, None])
    count = len(texts)
    columns = [texts, texts.dictionary_encode(), pa.array([-1.5] * count), pa.array([-2] * count)]
    table = pa.table([*columns, pa.array([["=1"]] * count)], ["=t", "d", "-f", "i", "l"])
    names, *rows = read_csv(export_table(table, "t", tmp_path, "csv"))
    assert names == ["'=t", "d", "'-f", "i", "l"]
    expected = [*(f"'{text}" for text in FORMULAS), *TEXTS, ""]
    for text, row in zip(expected, rows, strict=True):
        assert row == [text, text, "-1.5", "-2", '["=1"]']
    raw = read_csv(export_table(table, "raw", tmp_path, "csv", escape=False))
    assert raw[0] == ["=t", "d", "-f", "i", "l"]
    assert [row[0] for row in raw[1:]] == [*FORMULAS, *TEXTS, ""]


EVERY_TYPE = """
SELECT sum(n) AS whole, 1.5::DECIMAL(5, 2) AS part, {'x': 'nan'::DOUBLE} AS record,
    MAP {'a': 1} AS map, DATE '2020-01-31' AS day, INTERVAL 1 DAY AS span, '\\xAA'::BLOB AS bytes,
    ['inf'::DOUBLE, 1, NULL] AS list, 'nan'::DOUBLE AS nan, '-inf'::DOUBLE AS inf, NULL AS nothing,
    TIMESTAMP '2020-01-31 10:00:00' AS time, union_value(num := 2) AS either, 'a"b' AS text
FROM t
"""


def test_json_lines_are_valid_json_for_every_type():
    def refuse(constant):
        raise AssertionError(constant)

    answer = query({"t": pa.table({"n": [2**62, 2**62]})}, EVERY_TYPE)
    (line,) = json_lines(answer)
    assert json.loads(line, parse_constant=refuse) == {
        "whole": 2**63,
        "part": 1.5,
        "record": {"x": None},
        "map": [["a", 1]],
        "day": "2020-01-31",
        "span": "MonthDayNano(months=0, days=1, nanoseconds=0)",
        "bytes": "aa",
        "list": [None, 1.0, None],
        "nan": None,
        "inf": None,
        "nothing": None,
        "time": "2020-01-31T10:00:00",
        "either": 2,
        "text": 'a"b',
    }


def test_every_type_can_be_written_as_csv(tmp_path):
    answer = query({"t": pa.table({"n": [1, 2]})}, EVERY_TYPE)
    names, row = read_csv(export_table(answer, "t", tmp_path, "csv"))
    read = dict(zip(names, row, strict=True))
    assert read["record"] == '{"x": null}'
    assert read["map"] == '[["a", 1]]'
    assert read["bytes"] == "aa"


def test_repeated_names_are_numbered():
    answer = query({"t": pa.table({"n": [1.0, math.nan]})}, "SELECT n, n, 3 AS n_2, n FROM t")
    assert [json.loads(line) for line in json_lines(answer)] == [
        {"n": 1.0, "n_3": 1.0, "n_2": 3, "n_4": 1.0},
        {"n": None, "n_3": None, "n_2": 3, "n_4": None},
    ]
    assert numbered(["a", "a", "a_2", "a_2", ""]) == ["a", "a_3", "a_2", "a_2_2", ""]
