"""Reader for columns of a Parquet file, the only module of `clmethods` that imports pyarrow.

pyarrow is optional. It is imported only when a Parquet file is read, so that users without such
files do not need it. The import contract in pyproject.toml lists this module as its only
exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clmethods.errors import ClmethodsError


class ParquetError(ClmethodsError, RuntimeError):
    """Exception for a Parquet file that cannot be read, or for a missing pyarrow."""


def read_parquet(path: Path, columns: tuple[str, ...] | None = None) -> dict[str, list[Any]]:
    """Return the values of columns by name, by default of all columns.

    Names in `columns` that the file does not contain are ignored.

    Raises `ParquetError` if the file cannot be read, has a column twice, or pyarrow is not
    installed.
    """
    with _opened(path) as file:
        names = [n for n in file.schema_arrow.names if columns is None or n in columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ParquetError(f"{path} has the column {twice!r} twice")
        table = file.read(columns=names)
        return {name: table[name].to_pylist() for name in names}


def parquet_names(path: Path) -> list[str]:
    """Return the names of all columns.

    Raises `ParquetError` as `read_parquet` does.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file; errors in the block, too, are raised as `ParquetError`."""
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
            yield file
    # ValueError and OverflowError: values that Python does not have, such as dates after 9999
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ParquetError(f"{path} is not a readable Parquet file: {reason}") from error
