"""Result tables as immutable Parquet parts: written once, read all together.

A part is named by what its rows follow from (a trial's attempt; a stage, with its readout where
there is one), so that writing it again changes nothing and readers need no lock. Parts are copies
of what the stage store holds: one that is damaged is named and left out, never guessed at. The
parts of a stage are written as one bundle (`sweeps.results.bundles`), and `sweeps.results.merging`
puts parts into bigger files; readers cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.results.bundles import BUNDLED, FOLDER, is_bundle, parts_in
from sweeps.results.files import (
    DamagedFileError,
    PartFile,
    assembled,
    decode,
    folder_name,
    is_merged,
    part_bytes,
    results_folder,
    table_folder,
)
from sweeps.results.rows import to_table
from sweeps.results.schema import TABLES
from sweeps.storage import MissingObjectError, ObjectStore

READERS = 8
"""Files fetched at once: on a bucket each costs a round trip."""

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
    content, key = part_bytes(to_table(TABLES[table], rows)), part_key(sweep, table, part_id)
    written = store.put_if_absent(key, content)
    if written:
        store.recent.keep(key, content)  # it is merged by whoever wrote it, as a rule
    return written


def read_table(store: ObjectStore, sweep: str, table: str, *, encoded: bool = False) -> TableRead:
    """All rows of a table, in the order of the part names; no part at all is an empty table.

    Which parts were merged does not show. A truncated or changed file, one of another kind and
    one of another schema version are left out and named in the result. With `encoded`, texts that
    repeat are Arrow dictionaries (`TableSchema.encoded`), which millions of rows are worth.
    """
    return read_tables(store, sweep, [table], encoded=encoded)[table]


def read_tables(
    store: ObjectStore, sweep: str, tables: Sequence[str], *, encoded: bool = False
) -> dict[str, TableRead]:
    """Several tables as `read_table` gives them, listed and fetched together."""
    found: dict[str, dict[str, list[PartFile]]] = {}
    for _ in range(LOOKS):
        new = [key for key in result_files(store, sweep, tables) if key not in found]
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(lambda key: read_file(store, sweep, key, tables, encoded), new))
        pairs = list(zip(new, read, strict=True))
        issues = {key: one for key, one in pairs if not isinstance(one, dict)}
        found |= {key: one for key, one in pairs if isinstance(one, dict)}
        if not any(isinstance(issue, MissingObjectError) for issue in issues.values()):
            break
    reads: dict[str, TableRead] = {}
    for table in tables:
        files = [file for parts in found.values() for file in parts.get(table, [])]
        bad = {k: why for k, why in issues.items() if table in tables_of(sweep, k)}
        reads[table] = TableRead(
            table=assembled(files, TABLES[table], encoded),
            damaged=tuple(bad),
            warnings=tuple(f"{key} is left out: {reason}" for key, reason in bad.items()),
        )
    return reads


def result_files(store: ObjectStore, sweep: str, tables: Sequence[str]) -> list[str]:
    """Keys of all files that hold rows of these tables, sorted.

    Several tables take one listing; that of a table which is never bundled is a small one.
    """
    if len(tables) == 1 and tables[0] not in BUNDLED:
        return list(store.list(table_folder(sweep, tables[0])))
    keys = store.list(results_folder(sweep))
    return [key for key in keys if {*tables} & {*tables_of(sweep, key)}]


def tables_of(sweep: str, key: str) -> Sequence[str]:
    """The tables that a file may hold rows of; none for one that was set aside."""
    name = folder_name(sweep, key)
    return BUNDLED if name == FOLDER else [name] if name in TABLES else []


def set_aside(store: ObjectStore, keys: Sequence[str]) -> None:
    """Move damaged files to `…/results/damaged/`, so that they can be written anew."""
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
    store: ObjectStore, sweep: str, key: str, tables: Sequence[str], encoded: bool = False
) -> dict[str, list[PartFile]] | DamagedFileError | MissingObjectError:
    """The parts of these tables in a file, by table; or what is wrong with the file."""
    held = [table for table in tables_of(sweep, key) if table in tables]
    try:
        data = store.get_immutable(key) if is_merged(key) else store.get(key)
        if is_bundle(key):
            return parts_in(key, data, held, encoded)
        return {table: [decode(key, data, TABLES[table], encoded)] for table in held}
    except (DamagedFileError, MissingObjectError) as error:
        store.recent.drop(key)
        return error
