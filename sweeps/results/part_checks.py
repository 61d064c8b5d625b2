"""Checks of the rows of a readable part, and detection of parts that repeat another one.

A file may be readable and still be wrong: somebody edited it, or copied it under another name.
Its rows are compared with the rules of the schema. A part is identified by its rows, by the trial
and attempt or the stage and readout that they come from; its name only finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clmethods.json_parsing import parse_json_object
from sweeps.results.schema import TableSchema

IDENTITY = {
    "trials": ("trial_id", "attempt"),
    "stages": ("stage_key",),
    "evals": ("stage_key", "partition_id", "readout_id"),
    "matrices": ("stage_key",),
}
"""Columns that are constant in a part, and whose values identify it, by table."""

JSON_OBJECTS = {"trials": ("factors", "run")}
"""Columns that hold a JSON object, by table."""

_PLAIN_NAMES = {
    "trials": "{trial_id}-{attempt}",
    "stages": "{stage_key}",
    "evals": "{stage_key}-[0-9a-f]+",
    "matrices": "{stage_key}",
}
"""Patterns of the names under which parts are written."""


def row_issue(schema: TableSchema, table: pa.Table) -> str | None:
    """Return the first reason why rows of a table cannot be right; None if there is none."""
    for column in schema.columns:
        values = table[column.name]
        if values.null_count and not column.nullable:
            return f"{column.name} is null in row {_first(pc.is_null(values))}"
        if column.choices:
            allowed = pa.array(column.choices, pa.string())
            wrong = pc.invert(pc.is_in(values.cast(pa.string()), value_set=allowed))
            if (row := _first(wrong)) is not None:
                return f"{column.name} is {values[row].as_py()!r} in row {row}"
        if pa.types.is_list(column.type):
            flat = pc.list_flatten(values)
            if flat.null_count:
                return f"{column.name} contains a null"
    for name in JSON_OBJECTS.get(schema.name, ()):
        for row, text in enumerate(table[name].to_pylist()):
            if parse_json_object(text) is None:
                return f"{name} is no JSON object in row {row}"
    if schema.name == "evals":
        return _count_issue(table)
    return None


def part_issue(schema: TableSchema, table: pa.Table) -> str | None:
    """Return the reason why the rows cannot be those of one part; None if there is none."""
    if len(table) < 2:
        return None
    if len(table.select(schema.key).group_by(list(schema.key)).aggregate([])) < len(table):
        return "it holds a row twice"
    return None


def repeated_parts(
    table: pa.Table, schema: TableSchema, names: Sequence[str], rows: npt.NDArray[np.int64]
) -> dict[int, tuple[int, bool]]:
    """Return the parts of a table that hold rows of another one.

    `names`, `rows`: id and number of rows of each part, which follow one another in the table.
    The result maps the place of such a part to the place of the part whose rows it holds, and
    True if all of its rows are equal to the rows there.
    """
    identity = list(IDENTITY[schema.name])
    places = np.flatnonzero(rows)
    starts = (np.cumsum(rows) - rows)[places]
    first = table.select(identity).take(pa.array(starts))
    first = first.append_column("place", pa.array(places))
    groups = first.group_by(identity).aggregate([("place", "list")])
    repeated: dict[int, tuple[int, bool]] = {}
    if len(groups) == len(places):
        return repeated
    start_of = dict(zip(places.tolist(), starts.tolist(), strict=True))
    for group in groups.to_pylist():
        if len(group["place_list"]) == 1:
            continue
        slices = {p: table.slice(start_of[p], int(rows[p])) for p in group["place_list"]}
        ordered = sorted(
            slices, key=lambda p: (not is_plain_name(schema, names[p], group), names[p])
        )
        seen: dict[tuple[Any, ...], int] = {}
        for place in ordered:
            keys = [tuple(row.values()) for row in slices[place].select(schema.key).to_pylist()]
            other = next((seen[key] for key in keys if key in seen), None)
            if other is None:
                seen.update(dict.fromkeys(keys, place))
            else:
                same = slices[place].to_pylist() == slices[other].to_pylist()
                repeated[place] = other, same
    return repeated


def identity_of(schema: TableSchema, table: pa.Table) -> dict[str, object]:
    """Return the values that identify a part; empty if it has no rows."""
    rows: list[dict[str, object]] = table.slice(0, 1).select(IDENTITY[schema.name]).to_pylist()
    return rows[0] if rows else {}


def is_plain_name(schema: TableSchema, name: str, identity: Mapping[str, object]) -> bool:
    """Return True if the name of a part is the one under which its rows are written."""
    escaped = {column: re.escape(str(value)) for column, value in identity.items()}
    return re.fullmatch(_PLAIN_NAMES[schema.name].format(**escaped), name) is not None


def _count_issue(table: pa.Table) -> str | None:
    """Check 0 <= count <= n, and that `correct` is given if and only if the class was seen."""
    for name in ("correct", "correct_task_given", "task_id_correct"):
        count = table[name]
        wrong = pc.or_(pc.less(count, 0), pc.greater(count, table["n"]))
        if (row := _first(wrong)) is not None:
            return (
                f"0 <= {name} <= n must hold, row {row} has {count[row].as_py()} of "
                f"{table['n'][row].as_py()}"
            )
    given = pc.is_valid(table["correct"])
    if (row := _first(pc.not_equal(given, table["seen"]))) is not None:
        return f"correct must be given if and only if the class was seen, unlike in row {row}"
    if (row := _first(pc.less(table["n"], 0))) is not None:
        return f"n is negative in row {row}"
    return None


def _first(flags: pa.ChunkedArray) -> int | None:
    """Return the number of the first row whose flag is true; None if there is none."""
    row = pc.index(flags, pa.scalar(True)).as_py()
    return None if row < 0 else int(row)
