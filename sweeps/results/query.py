"""SQL queries over the result tables, by DuckDB, which reads Arrow tables as read-only views."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from sweeps.errors import SweepsError

READING = frozenset({"SELECT", "EXPLAIN"})
"""Allowed types of statements; WITH, DESCRIBE, SUMMARIZE and SHOW count as SELECT."""


class QueryError(SweepsError, ValueError):
    """Raised for an invalid query; the message is DuckDB's, or names what is not allowed."""


def query(tables: Mapping[str, pa.Table], sql: str) -> pa.Table:
    """Run one SQL statement over `tables`, which are views under their names.

    The connection is in memory, has no access to files or the network, and runs one statement that
    reads. Column names with a dot must be quoted: `"method.rank"`. Raises `QueryError`.
    """
    with duckdb.connect(":memory:") as connection:
        for name, table in tables.items():
            connection.register(name, table)
        for setting in (
            "enable_external_access = false",
            "python_enable_replacements = false",  # otherwise Python variables are tables too
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                raise QueryError(f"got {len(statements)} statements, allowed: exactly one")
            kind = statements[0].type.name
            if kind not in READING:
                raise QueryError(f"got {kind}, allowed: statements that read, such as SELECT")
            answer = connection.sql(statements[0])
            return answer.to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(_with_tables(str(error).strip(), tables)) from error


def _with_tables(message: str, tables: Mapping[str, pa.Table]) -> str:
    """Replace DuckDB's suggestion for an unknown table by the names of `tables`."""
    if "Table with name" not in message:
        return message
    return f"{message.splitlines()[0]} The tables are {', '.join(tables)}."
