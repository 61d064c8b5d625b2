"""Result tables as immutable Parquet parts: written once, read all together.

A part is named by what its rows follow from (a trial's attempt; a stage, with its readout where
there is one), so that writing it again changes nothing and readers need no lock. Parts are copies
of what the stage store holds: one that is damaged is named and left out, never guessed at. Where
they become many, `sweeps.results.merging` puts them into bigger files; readers cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.results.files import (
    DamagedFileError,
    PartFile,
    assembled,
    decode,
    part_bytes,
    table_folder,
)
from sweeps.results.rows import to_table
from sweeps.results.schema import TABLES, TableSchema
from sweeps.storage import MissingObjectError, ObjectStore

READERS = 8
"""Parts fetched at once: on a bucket each costs a round trip."""

LOOKS = 5
"""How often the files are listed, while others merge them and they vanish under the reader."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """A table as far as it could be read."""

    table: pa.Table
    damaged: tuple[str, ...]
    """Keys of the files that were left out, sorted."""
    warnings: tuple[str, ...]
    """One sentence for each of them: the key and what is wrong."""


def part_key(sweep: str, table: str, part_id: str) -> str:
    """Key of a part file. Raises KeyError for a table that is not in `TABLES`."""
    return f"{table_folder(sweep, table)}/{part_id}.parquet"


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
    content = part_bytes(to_table(TABLES[table], rows))
    return store.put_if_absent(part_key(sweep, table, part_id), content)


def read_table(store: ObjectStore, sweep: str, table: str, *, encoded: bool = False) -> TableRead:
    """All rows of a table, in the order of the part names; no part at all is an empty table.

    Which parts were merged does not show. A truncated or changed file, one of another kind and
    one of another schema version are left out and named in the result. With `encoded`, texts that
    repeat are Arrow dictionaries (`TableSchema.encoded`), which millions of rows are worth.
    """
    schema = TABLES[table]
    found: dict[str, PartFile] = {}
    for _ in range(LOOKS):
        keys = list(store.list(table_folder(sweep, table)))
        new = [key for key in keys if key not in found]
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(lambda key: read_file(store, key, schema, encoded), new))
        found |= {file.key: file for file in read if isinstance(file, PartFile)}
        faults = {k: f for k, f in zip(new, read, strict=True) if not isinstance(f, PartFile)}
        if not any(isinstance(fault, MissingObjectError) for fault in faults.values()):
            break
    return TableRead(
        table=assembled(list(found.values()), schema, encoded),
        damaged=tuple(faults),
        warnings=tuple(f"{key} is left out: {reason}" for key, reason in faults.items()),
    )


def set_aside(store: ObjectStore, keys: Sequence[str]) -> None:
    """Move damaged parts to `…/results/damaged/`, so that they can be written anew."""
    for key in keys:
        results, _, place = key.partition("/results/")
        store.move(key, f"{results}/results/damaged/{place.replace('/', '-')}")


def latest_trials(trials: pa.Table) -> pa.Table:
    """The last attempt of each trial, in the order in which the trials first appear."""
    if not len(trials):
        return trials
    ids = trials["trial_id"].combine_chunks().dictionary_encode()
    trial = np.asarray(ids.indices, dtype=np.int64)
    attempt = np.asarray(trials["attempt"], dtype=np.int64)
    by_attempt = np.lexsort((attempt, trial))
    is_last = np.append(np.diff(trial[by_attempt]) > 0, True)[: len(trial)]
    return trials.take(pa.array(by_attempt[is_last]))


def read_file(
    store: ObjectStore, key: str, schema: TableSchema, encoded: bool = False
) -> PartFile | DamagedFileError | MissingObjectError:
    """The file's rows, or what is wrong with it."""
    try:
        return decode(key, store.get(key), schema, encoded)
    except (DamagedFileError, MissingObjectError) as error:
        return error
