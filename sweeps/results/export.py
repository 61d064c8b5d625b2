"""Export of result tables as single Parquet or CSV files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

FORMATS = ("parquet", "csv")


def export_table(
    table: pa.Table, name: str, directory: Path, format: Literal["parquet", "csv"]
) -> Path:
    """Write a table as `directory/name.parquet` or `.csv`, replacing it, and return the path.

    The directory is created. In CSV, lists are written as JSON text and nulls as empty fields.
    Raises ValueError for another format.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}, got {format!r}")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.{format}"
    if format == "parquet":
        pq.write_table(table, path, compression="zstd")
    else:
        pa_csv.write_csv(lists_as_json(table), path)
    return path


def lists_as_json(table: pa.Table) -> pa.Table:
    """Return the table with every list column as JSON text."""
    for index, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = [None if v is None else json.dumps(v) for v in table[index].to_pylist()]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    return table
