"""Rows on their way into a table: what does not fit the schema is refused, with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from clmethods.errors import nearest
from sweeps.results.schema import EVALS, Column, TableSchema


class InvalidRowsError(ValueError):
    """Rows that break their table's schema; the message names table, row and column."""


def to_table(schema: TableSchema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows as an Arrow table with exactly the columns and types of `schema`.

    Raises `InvalidRowsError` for a missing or unknown column, a null or a text where it may not
    be, a value that its type cannot hold exactly, and evaluation counts that contradict.
    """
    names = [column.name for column in schema.columns]
    for index, row in enumerate(rows):
        _check_names(schema, index, row, names)
    arrays = [_array(schema, c, [row[c.name] for row in rows]) for c in schema.columns]
    if schema is EVALS:
        for index, row in enumerate(rows):
            _check_counts(index, row)
    return pa.Table.from_arrays(arrays, schema=schema.arrow)


def _check_names(
    schema: TableSchema, index: int, row: Mapping[str, Any], names: list[str]
) -> None:
    if row.keys() == set(names):
        return
    missing = [name for name in names if name not in row]
    unknown = sorted(row.keys() - set(names))
    complaints = [f"lacks {', '.join(missing)}"] if missing else []
    complaints += [f"has the unknown {name}. {nearest(name, names)}".strip() for name in unknown]
    raise InvalidRowsError(f"{schema.name}, row {index} {'; '.join(complaints)}")


def _array(schema: TableSchema, column: Column, values: list[Any]) -> pa.Array:
    place = f"{schema.name}.{column.name}"
    if not column.nullable and None in values:
        raise InvalidRowsError(f"{place}, row {values.index(None)}: null is not allowed")
    if column.choices:
        for index, value in enumerate(values):
            if value not in column.choices:
                raise InvalidRowsError(
                    f"{place}, row {index}: got {value!r}, allowed: one of {column.choices}"
                )
    try:
        array = pa.array(values, column.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidRowsError(f"{place}: {column.type} expected, {error}") from error
    for index, (given, held) in enumerate(zip(values, array.to_pylist(), strict=True)):
        if not _same(given, held):  # Arrow cuts 1.5 to 1 and a text to its letters without a word
            raise InvalidRowsError(f"{place}, row {index}: {column.type} expected, got {given!r}")
    return array


def _same(given: Any, held: Any) -> bool:
    if isinstance(held, list):
        return (
            not isinstance(given, str)
            and None not in held
            and all(_same(g, h) for g, h in zip(given, held, strict=True))
        )
    return bool(given == held) or given != given  # a NaN is held as a NaN, and equals nothing


def _check_counts(index: int, row: Mapping[str, Any]) -> None:
    """Counts make fractions in [0, 1], and only what was learned can be right."""
    for name in ("correct", "correct_task_given", "task_id_correct"):
        value = row[name]
        if value is not None and not 0 <= value <= row["n"]:
            raise InvalidRowsError(
                f"evals.{name}, row {index}: 0 <= {name} <= n must hold, got {value} of {row['n']}"
            )
    if (row["correct"] is not None) != row["seen"]:
        raise InvalidRowsError(
            f"evals.correct, row {index}: a count if and only if the class was seen, "
            f"got {row['correct']} with seen={row['seen']}"
        )
