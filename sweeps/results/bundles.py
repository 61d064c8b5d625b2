"""Bundles: one object per stage that holds the parts of several tables.

A stage has rows in `stages`, `matrices` and `evals`. As one part per table they would take three
requests to write and three more to merge. A worker therefore writes one ZIP file without
compression. Its members are named `TABLE/PART.parquet` and have the same bytes as a part. Readers
read bundles in addition to the folders of the tables; `merging` splits them into parts. The id of
a bundle determines its parts, so writing it again changes nothing.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.results.parquet_files import (
    DamagedFileError,
    PartFile,
    decode,
    part_bytes,
    results_folder,
)
from sweeps.results.rows import to_table
from sweeps.results.schema import TABLES
from sweeps.storage import ObjectStore

BUNDLED = ("stages", "matrices", "evals")
"""Tables whose parts are written in bundles."""

FOLDER = "bundles"
_EPOCH = (1980, 1, 1, 0, 0, 0)

PartRows = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""Rows by table and part id."""


def bundle_key(sweep: str, bundle_id: str) -> str:
    """Return the storage key of a bundle."""
    return f"{results_folder(sweep)}/{FOLDER}/{bundle_id}.zip"


def is_bundle(key: str) -> bool:
    """Return True if the key is that of a bundle."""
    return key.rsplit("/", 2)[1] == FOLDER


def write_bundle(store: ObjectStore, sweep: str, bundle_id: str, parts: PartRows) -> bool:
    """Write parts as one bundle unless it exists; return True if this call wrote it.

    `bundle_id` must determine the rows. Raises `InvalidRowsError` for rows that violate their
    schema. A damaged bundle counts as existing; call `set_aside` first.
    """
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for table, part_id in sorted(parts):
            data = part_bytes(to_table(TABLES[table], parts[table, part_id]))
            archive.writestr(zipfile.ZipInfo(f"{table}/{part_id}.parquet", _EPOCH), data)
    return store.put_if_absent(bundle_key(sweep, bundle_id), sink.getvalue())


def members_of(data: bytes) -> dict[str, dict[str, bytes]]:
    """Return the bytes of the parts of a bundle, by table and part id.

    Raises `DamagedFileError` for a file that is truncated, changed or not a bundle.
    """
    parts: dict[str, dict[str, bytes]] = {table: {} for table in BUNDLED}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            packed = [i.filename for i in archive.infolist() if i.compress_type or i.flag_bits & 1]
            names = [] if packed else archive.namelist()
            members = {member: archive.read(member) for member in names}
    except (zipfile.BadZipFile, struct.error, EOFError, OSError, ValueError) as error:
        raise DamagedFileError(f"not a readable bundle ({error})") from error
    if packed:  # bundles are written without compression; a small file could become very large
        raise DamagedFileError(f"not a readable bundle ({packed[0]} is compressed)")
    for member, content in members.items():
        table, _, name = member.partition("/")
        if table not in parts:
            raise DamagedFileError(f"not a readable bundle (it contains {member})")
        parts[table][name.removesuffix(".parquet")] = content
    return parts


def parts_in(
    key: str, data: bytes, tables: Sequence[str] = BUNDLED, encoded: bool = False
) -> dict[str, list[PartFile]]:
    """Return the parts of these tables in a bundle, by table. Raises `DamagedFileError`."""
    members = members_of(data)
    return {
        table: [
            decode(f"{key}/{name}.parquet", content, TABLES[table], encoded)
            for name, content in members[table].items()
        ]
        for table in tables
    }
