"""SQL over tables: it answers, it changes nothing, and a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from sweeps.results.query import QueryError, query

TABLES = {"trials": pa.table({"a": [1, 2, 3], "method.rank": [4, 8, 8]})}


def test_a_query_is_answered_as_arrow() -> None:
    answer = query(TABLES, 'SELECT "method.rank" AS rank, sum(a) AS n FROM trials GROUP BY 1')
    assert sorted(answer.to_pylist(), key=lambda row: row["rank"]) == [
        {"rank": 4, "n": 1},
        {"rank": 8, "n": 5},
    ]


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("DROP VIEW trials", "got DROP"),
        ("CREATE TABLE x AS SELECT 1", "got CREATE"),
        ("SELECT 1; SELECT 2", "got 2"),
        ("", "got 0"),
        ("SELECT * FROM trails", "The tables are trials."),
        ("SELECT aa FROM trials", "Candidate bindings"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_what_does_not_read_is_refused(sql: str, part: str) -> None:
    with pytest.raises(QueryError) as refusal:
        query(TABLES, sql)
    assert part in str(refusal.value)


def test_no_file_is_read_and_none_is_written(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for sql in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        f"COPY trials TO '{tmp_path}/out.csv'",
        "SET enable_external_access = true",
    ):
        with pytest.raises(QueryError):
            query(TABLES, sql)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
