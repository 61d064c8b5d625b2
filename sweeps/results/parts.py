"""Result tables as immutable Parquet parts: written once, read all together.

A part is named by what its rows follow from (a trial's attempt; a stage, with its readout where
there is one), so that writing it again changes nothing and readers need no lock. Parts are copies
of what the stage store holds: one that is damaged is named and left out, never guessed at.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.results.rows import to_table
from sweeps.results.schema import TABLES, TableSchema
from sweeps.results.versions import VERSIONS, VersionError, Versions
from sweeps.storage import MissingObjectError, ObjectStore

READERS = 8
"""Parts fetched at once: on a bucket each costs a round trip."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """A table as far as it could be read."""

    table: pa.Table
    damaged: tuple[str, ...]
    """Keys of the parts that were left out, sorted."""
    warnings: tuple[str, ...]
    """One sentence for each of them: the key and what is wrong."""


class DamagedPartError(ValueError):
    """A part that cannot be used; the message says why."""


def part_key(sweep: str, table: str, part_id: str) -> str:
    """Key of a part file. Raises KeyError for a table that is not in `TABLES`."""
    return f"sweeps/{sweep}/results/{TABLES[table].name}/{part_id}.parquet"


def trial_part_id(trial_id: str, attempt: int) -> str:
    """Id of the part that holds the row of one attempt of a trial."""
    return f"{trial_id}-{attempt}"


def write_part(
    store: ObjectStore, sweep: str, table: str, part_id: str, rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Write the rows as one part unless it is there; True if this call wrote it.

    `part_id` must determine the rows: the first writer's stay. Raises `InvalidRowsError` for rows
    that break the schema. A damaged part counts as there; `set_aside` it first.
    """
    content = to_table(TABLES[table], rows)
    sink = io.BytesIO()
    pq.write_table(content, sink, compression="zstd", write_page_checksum=True)
    return store.put_if_absent(part_key(sweep, table, part_id), sink.getvalue())


def read_table(store: ObjectStore, sweep: str, table: str) -> TableRead:
    """All rows of a table, in the order of the part names; no part at all is an empty table.

    A truncated part, a file of another kind and a part of another schema version are left out
    and named in the result.
    """
    schema = TABLES[table]
    keys = list(store.list(f"sweeps/{sweep}/results/{table}"))
    with ThreadPoolExecutor(READERS) as pool:
        parts = list(pool.map(lambda key: _read_part(store, key, schema), keys))
    sound = [part for part in parts if not isinstance(part, str)]
    faults = {key: part for key, part in zip(keys, parts, strict=True) if isinstance(part, str)}
    return TableRead(
        table=pa.concat_tables([schema.arrow.empty_table(), *sound]).combine_chunks(),
        damaged=tuple(faults),
        warnings=tuple(f"{key} is left out: {reason}" for key, reason in faults.items()),
    )


def set_aside(store: ObjectStore, keys: Sequence[str]) -> None:
    """Move damaged parts to `…/results/damaged/`, so that they can be written anew."""
    for key in keys:
        head, _, name = key.rpartition("/")
        results, _, table = head.rpartition("/")
        store.move(key, f"{results}/damaged/{table}-{name}")


def latest_trials(trials: pa.Table) -> pa.Table:
    """The last attempt of each trial, in the order in which the trials first appear."""
    ids = trials["trial_id"].combine_chunks().dictionary_encode()
    trial = np.asarray(ids.indices, dtype=np.int64)
    attempt = np.asarray(trials["attempt"], dtype=np.int64)
    by_attempt = np.lexsort((attempt, trial))
    is_last = np.append(np.diff(trial[by_attempt]) > 0, True)[: len(trial)]
    return trials.take(pa.array(by_attempt[is_last]))


def _read_part(store: ObjectStore, key: str, schema: TableSchema) -> pa.Table | str:
    """The part's rows, or what is wrong with it."""
    try:
        return decode(store.get(key), schema)
    except (DamagedPartError, MissingObjectError) as error:
        return str(error)


def decode(data: bytes, schema: TableSchema, versions: Versions = VERSIONS) -> pa.Table:
    """The rows of a part as the schema of today has them.

    Raises `DamagedPartError` for what is no part of this table or cannot be read.
    """
    try:
        part = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        metadata = part.schema_arrow.metadata or {}
        if metadata.get(b"table", b"").decode() != schema.name:
            raise DamagedPartError(f"not a part of the table {schema.name}")
        version = versions.of(metadata)
        return versions.lift(part.read(use_threads=False), schema, version)
    except VersionError as error:
        raise DamagedPartError(str(error)) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedPartError(f"not a readable Parquet file ({reason})") from error
