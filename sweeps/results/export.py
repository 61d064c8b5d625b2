"""Export of tables as Parquet or CSV files, and as JSON lines."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

FORMATS = ("parquet", "csv")

_FORMULA = re.compile(r"[=+\-@\t\r]")
"""First characters of a text that a spreadsheet may evaluate."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def export_table(
    table: pa.Table,
    name: str,
    directory: Path,
    format: Literal["parquet", "csv"],
    *,
    escape: bool = True,
) -> Path:
    """Write a table as `directory/name.parquet` or `.csv`, replacing it, and return the path.

    The directory is created. CSV is written as by `write_csv`. Raises ValueError for another
    format.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}, got {format!r}")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.{format}"

    def write(place: Path) -> None:
        if format == "parquet":
            pq.write_table(table, place, compression="zstd")
            return
        with place.open("wb") as file:
            write_csv(table, file, escape=escape)

    write_complete(path, write)
    return path


def write_complete(path: Path, write: Callable[[Path], object], *, replace: bool = True) -> None:
    """Call `write` with a temporary path in the same folder, and rename that file to `path`.

    A process that is killed leaves the file as it was. A path that is no regular file, such as
    /dev/stdout, is written directly. Without `replace`, raises `FileExistsError` for a file that
    exists.
    """
    if path.exists() and not path.is_file():
        write(path)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        if replace:
            temporary.replace(path)
        else:
            _rename_to_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rename_to_new(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(str(path)) from None
        temporary.replace(path)


def write_csv(table: pa.Table, file: BinaryIO, *, escape: bool = True) -> None:
    """Write a table as CSV: lists and other nested values as JSON text, nulls as empty fields.

    With `escape`, a text that a spreadsheet would evaluate as a formula gets an apostrophe in
    front, in the cells and in the column names. Texts that are numbers stay as they are.
    """
    columns = [_csv_column(column, escape) for column in table.columns]
    names = [_escaped(name) if escape else name for name in table.column_names]
    pa_csv.write_csv(pa.table(columns, names=names), file)


def json_lines(table: pa.Table) -> Iterator[str]:
    """Yield one JSON object per row.

    JSON has no NaN and no infinity: they are null, as nulls are. Repeated names are numbered:
    `a`, `a_2`. Values without a JSON type are text.
    """
    names = numbered(table.column_names)
    for batch in table.to_batches():
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield json.dumps({name: _plain(v) for name, v in zip(names, values, strict=True)})


def numbered(names: Sequence[str]) -> list[str]:
    """Return distinct names: a name that occurred before gets the next free number, as `a_2`."""
    taken, found = set(names), set[str]()
    result = []
    for name in names:
        unique, number = name, 1
        while unique in found or (number > 1 and unique in taken):
            number += 1
            unique = f"{name}_{number}"
        found.add(unique)
        result.append(unique)
    return result


def _csv_column(column: pa.ChunkedArray, escape: bool) -> pa.ChunkedArray | pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_interval(kind) or pa.types.is_binary(kind):
        values = [None if v is None else _plain(v) for v in column.to_pylist()]
        texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        column, kind = pa.array(texts, pa.string()), pa.string()
    if not escape or not pa.types.is_string(kind):
        return column
    if pc.any(pc.match_substring_regex(column, f"^{_FORMULA.pattern}")).as_py():
        texts = [None if text is None else _escaped(text) for text in column.to_pylist()]
        return pa.array(texts, pa.string())
    return column


def _escaped(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _plain(value: Any) -> Any:
    """Return a value of an Arrow table as plain data that JSON can hold."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case bytes():
            return value.hex()
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            # tuples are entries of a map, and MonthDayNano, the type of intervals, is one
            is_entry = type(value) is tuple
            return [_plain(each) for each in value] if is_entry else str(value)
