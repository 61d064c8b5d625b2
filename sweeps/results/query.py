"""SQL over the result tables: DuckDB reads Arrow tables as views and can change nothing."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

READING = frozenset({"SELECT", "EXPLAIN"})
"""Kinds of statement that are run; WITH, DESCRIBE, SUMMARIZE and SHOW count as SELECT."""


class QueryError(ValueError):
    """A query that cannot be answered; the message is DuckDB's, or says what is not allowed."""


def query(tables: Mapping[str, pa.Table], sql: str) -> pa.Table:
    """The answer to one SQL statement over `tables`, which are views under their names.

    The connection lives in memory, reaches neither files nor the network, and runs one statement
    that reads. Column names with a dot are quoted: `"method.rank"`. Raises `QueryError`.
    """
    with duckdb.connect(":memory:") as connection:
        for name, table in tables.items():
            connection.register(name, table)
        for setting in (
            "enable_external_access = false",
            "python_enable_replacements = false",  # else Python's variables are tables too
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                raise QueryError(f"one statement at a time, got {len(statements)}")
            kind = statements[0].type.name
            if kind not in READING:
                raise QueryError(f"only statements that read, such as SELECT, got {kind}")
            answer = connection.sql(statements[0])
            return answer.to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(_with_tables(str(error).strip(), tables)) from error


def _with_tables(message: str, tables: Mapping[str, pa.Table]) -> str:
    """DuckDB guesses at its own catalogue; a wrong name of a table deserves ours."""
    if "Table with name" not in message:
        return message
    return f"{message.splitlines()[0]} The tables are {', '.join(tables)}."
