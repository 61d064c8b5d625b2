"""Parquet files of a result table: single parts, and merged files that hold many parts.

A merged file holds the rows of its parts unchanged, part after part in the order of their ids. It
lists the ids and the number of rows of each part. Its name is the SHA-256 of its bytes, so a
reader can verify it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from clmethods.json_parsing import parse_json_object
from sweeps.errors import SweepsError
from sweeps.results.part_checks import part_issue, repeated_parts, row_issue
from sweeps.results.schema import TABLES, TableSchema
from sweeps.results.schema_versions import VERSIONS, VersionError, Versions

MERGED = "merged"
"""Folder of the merged files, below the folder of the table."""

_PARTS = b"parts"


class DamagedFileError(SweepsError, ValueError):
    """Raised for a file that cannot be used; the message contains the reason."""


@dataclass(frozen=True, slots=True)
class PartFile:
    """Rows of a file that holds one part, or several merged parts."""

    key: str
    table: pa.Table
    ids: tuple[str, ...]
    """Ids of the parts, in ascending order."""
    rows: tuple[int, ...]
    """Number of rows of each part, in the same order."""

    @property
    def merged(self) -> bool:
        """Return True if this is a merged file."""
        return is_merged(self.key)


def results_folder(sweep: str) -> str:
    """Return the folder of all files of a sweep's tables."""
    return f"sweeps/{sweep}/results"


def table_folder(sweep: str, table: str) -> str:
    """Return the folder of a table's files. Raises KeyError for a table not in `TABLES`."""
    return f"{results_folder(sweep)}/{TABLES[table].name}"


def folder_name(sweep: str, key: str) -> str:
    """Return the folder of a file below `results`: a table name, `bundles` or `damaged`."""
    return key.removeprefix(f"{results_folder(sweep)}/").partition("/")[0]


def is_merged(key: str) -> bool:
    """Return True if the key is that of a merged file."""
    return key.rsplit("/", 2)[1] == MERGED


def part_id(key: str) -> str:
    """Return the id of the part that a key names."""
    return key.rpartition("/")[2].removesuffix(".parquet")


def part_bytes(table: pa.Table) -> bytes:
    """Return the stored bytes of a part. Equal rows give equal bytes."""
    return _bytes(table, {})


def merged_file(folder: str, parts: Sequence[tuple[str, pa.Table]]) -> tuple[str, bytes]:
    """Return (key, bytes) of the file that holds these parts, which must be sorted by id."""
    listed = {"ids": [name for name, _ in parts], "rows": [len(table) for _, table in parts]}
    table = pa.concat_tables([table for _, table in parts]).combine_chunks()
    data = _bytes(table, {_PARTS: json.dumps(listed, separators=(",", ":")).encode()})
    return f"{folder}/{MERGED}/{hashlib.sha256(data).hexdigest()}.parquet", data


def decode(
    key: str,
    data: bytes,
    schema: TableSchema,
    encoded: bool = False,
    versions: Versions = VERSIONS,
) -> PartFile:
    """Return the rows of a stored file in the current schema.

    With `encoded`, repeated texts are Arrow dictionaries. Raises `DamagedFileError` for a file
    that is truncated, changed, not Parquet, of another table, of a version that cannot be read, or
    with rows that cannot be right.
    """
    if is_merged(key):
        check_name(key, data)
    file = _opened(data, schema, encoded, checksums=not is_merged(key))
    try:
        table = _lifted(file, schema, encoded, versions)
    except VersionError as error:
        raise DamagedFileError(str(error)) from error
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a null
        raise _unreadable(error) from error
    issue = row_issue(schema, table) or (None if is_merged(key) else part_issue(schema, table))
    if issue is not None:
        raise DamagedFileError(f"impossible rows: {issue}")
    parts = _listed(file, len(table)) if is_merged(key) else {part_id(key): len(table)}
    return PartFile(key, table, tuple(parts), tuple(parts.values()))


def parts_of(key: str, data: bytes, schema: TableSchema) -> dict[str, int]:
    """Return the number of rows of each part of a merged file. Raises `DamagedFileError`."""
    check_name(key, data)
    file = _opened(data, schema, encoded=False, checksums=False)
    return _listed(file, file.metadata.num_rows)


def check_name(key: str, data: bytes) -> None:
    """Raise `DamagedFileError` unless the bytes of a merged file have the checksum in its name."""
    if hashlib.sha256(data).hexdigest() != part_id(key):
        raise DamagedFileError("its bytes are not those that were written")


@dataclass(frozen=True, slots=True)
class RepeatedPart:
    """Part that holds rows of another part, and is left out."""

    key: str
    """Key of its file."""
    part: str
    """Id of the part."""
    other: str
    """Key of the file with the same rows."""
    equal: bool
    """True if all of its rows are equal to the rows there; False if they contradict them."""


def assembled(
    files: Sequence[PartFile], schema: TableSchema, encoded: bool = False
) -> tuple[pa.Table, tuple[RepeatedPart, ...]]:
    """Return the rows of all files, part by part in the order of the ids, each part once.

    A part that several files hold is taken from a merged file, because that copy is older. Parts
    with other ids that hold the same rows are left out and returned.
    """
    ranked = sorted(files, key=lambda file: (not file.merged, file.ids[:1], file.key))
    fields = schema.encoded if encoded else schema.arrow
    empty = pa.Table.from_batches([], schema=fields)  # `empty_table` imports pandas
    whole = pa.concat_tables([empty, *(file.table for file in ranked)])
    if encoded:
        whole = whole.unify_dictionaries()
    whole = whole.combine_chunks()
    ids = np.array([name for file in ranked for name in file.ids], dtype=object)
    rows = np.array([n for file in ranked for n in file.rows], dtype=np.int64)
    if not len(ids):
        return whole, ()
    starts = np.cumsum(rows) - rows
    _, first = np.unique(ids, return_index=True)  # first place of each id, in the order of the ids
    if not np.array_equal(first, np.arange(len(ids))):
        whole = _rows_of(whole, starts[first], rows[first])
    rows = rows[first]
    repeated = repeated_parts(whole, schema, ids[first].tolist(), rows)
    if not repeated:
        return whole, ()
    kept = np.setdiff1d(np.arange(len(rows)), [*repeated])
    keys = np.array([file.key for file in ranked for _ in file.ids], dtype=object)[first]
    left_out = tuple(
        RepeatedPart(keys[place], ids[first[place]], keys[other], equal)
        for place, (other, equal) in sorted(repeated.items())
    )
    return _rows_of(whole, (np.cumsum(rows) - rows)[kept], rows[kept]), left_out


def _rows_of(
    table: pa.Table, starts: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> pa.Table:
    """Return the rows of ranges of a table, one range after the other."""
    before = np.repeat(np.cumsum(rows) - rows, rows)
    return table.take(pa.array(np.repeat(starts, rows) + np.arange(int(rows.sum())) - before))


def _bytes(table: pa.Table, metadata: dict[bytes, bytes]) -> bytes:
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, table.schema, compression="zstd", write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(metadata)
    return sink.getvalue()


def _opened(data: bytes, schema: TableSchema, encoded: bool, checksums: bool) -> pq.ParquetFile:
    """Open a file and check its table.

    Page checksums are not needed for a merged file, because its name is a checksum of its bytes.
    """
    try:
        file = pq.ParquetFile(
            pa.BufferReader(data),
            read_dictionary=list(schema.repeated) if encoded else [],
            page_checksum_verification=checksums,
        )
        table = _metadata(file).get(b"table", b"").decode()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(error) from error
    if table != schema.name:
        raise DamagedFileError(f"not a part of the table {schema.name}")
    return file


def _lifted(
    file: pq.ParquetFile, schema: TableSchema, encoded: bool, versions: Versions
) -> pa.Table:
    """Return the table in the current schema version; raises `VersionError` if there is none."""
    version = versions.of(_metadata(file))
    target = schema.encoded if encoded else schema.arrow
    if version == versions.current and file.schema_arrow.equals(target):
        return file.read(use_threads=False).cast(target)
    plain = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in file.schema_arrow
    ]
    table = file.read(use_threads=False).cast(pa.schema(plain))
    return versions.lift(table, schema, version).cast(target)


def _metadata(file: pq.ParquetFile) -> dict[bytes, bytes]:
    return file.metadata.metadata or {}


def _listed(file: pq.ParquetFile, rows: int) -> dict[str, int]:
    """Return the number of rows of each part of a merged file. Raises `DamagedFileError`."""
    listed = parse_json_object(_metadata(file).get(_PARTS, b"")) or {}
    ids, counts = listed.get("ids"), listed.get("rows")
    if not isinstance(ids, list) or not isinstance(counts, list) or len(ids) != len(counts):
        raise DamagedFileError("it does not list its parts")
    if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != rows:
        raise DamagedFileError("it does not have the rows of the parts that it lists")
    if len(parts := dict(zip(map(str, ids), counts, strict=True))) < len(ids):
        raise DamagedFileError("it lists a part twice")
    return parts


def _unreadable(error: Exception) -> DamagedFileError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DamagedFileError(f"not a readable Parquet file ({reason})")
