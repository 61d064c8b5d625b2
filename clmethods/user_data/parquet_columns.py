"""Reading columns of a Parquet file: the one place of `clmethods` that knows pyarrow.

pyarrow is optional here and is loaded when a Parquet file is read, never before: whoever has no
such file needs no pyarrow. The import contract of pyproject.toml names this module as its only
exception.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class ParquetError(RuntimeError):
    """A Parquet file cannot be read, or pyarrow is not installed."""


def read_parquet(path: Path, columns: tuple[str, ...] | None = None) -> dict[str, list[Any]]:
    """Columns by name, all of them by default; a name that the file lacks is left out."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ParquetError(
            f"{path} is a Parquet file and pyarrow is not installed: `pip install pyarrow`, "
            "or write the file as CSV"
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            names = [n for n in file.schema_arrow.names if columns is None or n in columns]
            table = file.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        raise ParquetError(f"{path} is not a readable Parquet file: {error}") from error
    return {name: table[name].to_pylist() for name in names}
