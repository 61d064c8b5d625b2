"""Bundles: what a worker writes of one stage, the parts of several tables in one object.

A stage has rows in `stages`, `matrices` and `evals`. Written as a part of each table they would
cost three requests, and three more when they are merged. So a worker writes one ZIP file, stored
without compression, whose members are named `TABLE/PART.parquet` and are the very bytes of a part.
Readers look into bundles as into the folders of the tables; `merging` takes them apart. The parts
of a bundle follow from its id, so that writing it again changes nothing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.results.files import (
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
"""Tables that bundles hold parts of."""

FOLDER = "bundles"
_EPOCH = (1980, 1, 1, 0, 0, 0)

PartRows = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""Rows by table and part id."""


def bundle_key(sweep: str, bundle_id: str) -> str:
    """Key of a bundle."""
    return f"{results_folder(sweep)}/{FOLDER}/{bundle_id}.zip"


def is_bundle(key: str) -> bool:
    """Whether the key is that of a bundle."""
    return key.rsplit("/", 2)[1] == FOLDER


def write_bundle(store: ObjectStore, sweep: str, bundle_id: str, parts: PartRows) -> bool:
    """Write parts as one bundle unless it is there; True if this call wrote it.

    `bundle_id` must determine the rows. Raises `InvalidRowsError` for rows that break their
    schema. A damaged bundle counts as there; `set_aside` it first.
    """
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for table, part_id in sorted(parts):
            data = part_bytes(to_table(TABLES[table], parts[table, part_id]))
            archive.writestr(zipfile.ZipInfo(f"{table}/{part_id}.parquet", _EPOCH), data)
    return store.put_if_absent(bundle_key(sweep, bundle_id), sink.getvalue())


def members_of(data: bytes) -> dict[str, dict[str, bytes]]:
    """The bytes of the parts of a bundle, by table and part id.

    Raises `DamagedFileError` for a file that is truncated, changed or no bundle.
    """
    found: dict[str, dict[str, bytes]] = {table: {} for table in BUNDLED}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise DamagedFileError(f"not a readable bundle ({error})") from error
    for member, content in members.items():
        table, _, name = member.partition("/")
        if table not in found:
            raise DamagedFileError(f"not a readable bundle (it holds {member})")
        found[table][name.removesuffix(".parquet")] = content
    return found


def parts_in(
    key: str, data: bytes, tables: Sequence[str] = BUNDLED, encoded: bool = False
) -> dict[str, list[PartFile]]:
    """The parts of these tables in a bundle, by table. Raises `DamagedFileError`."""
    members = members_of(data)
    return {
        table: [
            decode(f"{key}/{name}.parquet", content, TABLES[table], encoded)
            for name, content in members[table].items()
        ]
        for table in tables
    }
