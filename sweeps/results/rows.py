"""Conversion of rows to an Arrow table, with checks of every value against the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pyarrow as pa

from clmethods.errors import nearest
from sweeps.errors import SweepsError
from sweeps.results.schema import EVALS, Column, TableSchema


class InvalidRowsError(SweepsError, ValueError):
    """Raised for rows that violate the schema; the message names table, row and column."""


class TrialRow(TypedDict):
    """Row of the table `trials`, as read; see `TRIALS` for the meaning of the columns."""

    trial_id: str
    config_id: str
    order_id: str
    task_order: list[int]
    class_order_seed: int | None
    split_seed: int
    seed: int
    partition_id: str
    label: str
    role: str
    factors: str
    method: str
    readout_ids: list[str]
    attempt: int
    status: str
    error: str | None
    error_kind: str | None
    stages_done: int
    stages_total: int
    stage_keys: list[str]
    run: str
    trainable_parameters: int | None
    stored_bytes: int | None
    cpus: float
    gpus: float
    code_version: str


class StageRow(TypedDict):
    """Row of the table `stages`, as read; see `STAGES` for the meaning of the columns."""

    stage_key: str
    parent: str | None
    position: int
    task_key: str
    task: int | None
    classes: list[int]
    cross_entropy: float | None
    orthogonality: float | None
    grad_norm: float | None
    steps: int
    frozen_count: int
    trainable_parameters: int
    ortho_residual_max: float | None
    state_bytes: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    host: str
    host_kind: str
    torch_version: str
    timm_version: str
    code_version: str
    started_at: str


def to_table(schema: TableSchema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the rows as an Arrow table with exactly the columns and types of `schema`.

    Raises `InvalidRowsError` for a missing or unknown column, a null or a text that is not
    allowed, a value that the column type cannot represent exactly, and inconsistent evaluation
    counts.
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
    issues = [f"lacks {', '.join(missing)}"] if missing else []
    issues += [f"has the unknown {name}. {nearest(name, names)}".strip() for name in unknown]
    raise InvalidRowsError(f"{schema.name}, row {index} {'; '.join(issues)}")


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
        array = pa.array(_with_floats(values, column.type), column.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidRowsError(f"{place}: {column.type} expected, {error}") from error
    for index, (given, stored) in enumerate(zip(values, array.to_pylist(), strict=True)):
        if not _same(given, stored):  # Arrow silently truncates 1.5 to 1 and splits a text
            raise InvalidRowsError(f"{place}, row {index}: {column.type} expected, got {given!r}")
    return array


def _with_floats(values: list[Any], kind: pa.DataType) -> list[Any]:
    """Return the values of a column of floats, or of lists of floats, with integers as floats.

    Canonical JSON writes 1e30 as an integer, and Arrow converts no integer of more than 64 bits.
    """
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return [_with_floats(v, kind.value_type) if isinstance(v, list) else v for v in values]
    if not pa.types.is_floating(kind):
        return values
    return [float(v) if type(v) is int else v for v in values]


def _same(given: Any, stored: Any) -> bool:
    if isinstance(stored, list):
        return (
            not isinstance(given, str)
            and None not in stored
            and all(_same(g, s) for g, s in zip(given, stored, strict=True))
        )
    return bool(given == stored) or given != given  # a NaN is stored as a NaN, and equals nothing


def _check_counts(index: int, row: Mapping[str, Any]) -> None:
    """Check 0 <= count <= n, and that `correct` is given if and only if the class was seen."""
    for name in ("correct", "correct_task_given", "task_id_correct"):
        value = row[name]
        if value is not None and not 0 <= value <= row["n"]:
            raise InvalidRowsError(
                f"evals.{name}, row {index}: 0 <= {name} <= n must hold, got {value} of {row['n']}"
            )
    if (row["correct"] is not None) != row["seen"]:
        raise InvalidRowsError(
            f"evals.correct, row {index}: got {row['correct']} with seen={row['seen']}, "
            "allowed: a count if and only if the class was seen"
        )
