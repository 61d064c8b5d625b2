"""Reading and writing of result tables as immutable Parquet parts.

The name of a part determines its rows (a trial and attempt, or a stage, with a readout if there is
one). Writing a part again therefore changes nothing, and readers need no lock. Parts are copies of
data in the stage store. A damaged part is reported and left out; its rows are never guessed. The
parts of a stage are written as one bundle (`sweeps.results.bundles`), and `sweeps.results.merging`
combines parts into larger files. Both are invisible to callers of `read_table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.results.bundles import BUNDLED, FOLDER, is_bundle, parts_in
from sweeps.results.parquet_files import (
    DamagedFileError,
    PartFile,
    RepeatedPart,
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
"""Number of files fetched in parallel: on a bucket each costs a round trip."""

REPAIR = "`sweeps run` writes it again"
"""Remedy for a damaged part: its rows are stored with the stages and trials."""

LOOKS = 5
"""Maximum number of listings. Merging by another process may delete files between two listings."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """Readable rows of a table, and the files that were left out."""

    table: pa.Table
    damaged: tuple[str, ...]
    """Keys of the files that were left out and whose rows may be missing, sorted."""
    warnings: tuple[str, ...]
    """One sentence for each of these files, with the key, the reason and the remedy, and for each
    copy of another file, which is left out, too."""


def part_key(sweep: str, table: str, part_id: str) -> str:
    """Return the key of a part file. Raises KeyError for a table that is not in `TABLES`."""
    return f"{table_folder(sweep, table)}/{part_id}.parquet"


def trial_part_id(trial_id: str, attempt: int) -> str:
    """Return the id of the part that holds the row of one attempt of a trial."""
    return f"{trial_id}-{attempt}"


def write_part(
    store: ObjectStore, sweep: str, table: str, part_id: str, rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Write the rows as one part unless it exists; return True if this call wrote it.

    `part_id` must determine the rows: the first write is kept. Raises `InvalidRowsError` for rows
    that violate the schema. A damaged part counts as existing; call `set_aside` first.
    """
    content, key = part_bytes(to_table(TABLES[table], rows)), part_key(sweep, table, part_id)
    written = store.put_if_absent(key, content)
    if written:
        store.recent.keep(key, content)  # usually merged by the process that wrote it
    return written


def read_table(store: ObjectStore, sweep: str, table: str, *, encoded: bool = False) -> TableRead:
    """Return all rows of a table, in the order of the part ids; empty if there is no part.

    The result does not depend on which parts were merged. Files that are truncated, changed, of
    another kind or of an unreadable schema version are left out and listed in the result. With
    `encoded`, repeated texts are Arrow dictionaries (`TableSchema.encoded`), which saves memory if
    there are millions of rows.
    """
    return read_tables(store, sweep, [table], encoded=encoded)[table]


def read_tables(
    store: ObjectStore, sweep: str, tables: Sequence[str], *, encoded: bool = False
) -> dict[str, TableRead]:
    """Return several tables, each as `read_table` does, with a common listing."""
    parts: dict[str, dict[str, list[PartFile]]] = {}
    for _ in range(LOOKS):
        new = [key for key in result_files(store, sweep, tables) if key not in parts]
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(lambda key: read_file(store, sweep, key, tables, encoded), new))
        pairs = list(zip(new, read, strict=True))
        issues = {key: result for key, result in pairs if not isinstance(result, dict)}
        parts |= {key: result for key, result in pairs if isinstance(result, dict)}
        if not any(isinstance(issue, MissingObjectError) for issue in issues.values()):
            break
    for key in store.non_files(results_folder(sweep)):
        issues[key] = DamagedFileError("it is a folder, or a link that leads to no file")
    reads: dict[str, TableRead] = {}
    for table in tables:
        files = [file for by_table in parts.values() for file in by_table.get(table, [])]
        damaged = {k: issue for k, issue in issues.items() if table in tables_of(sweep, k)}
        rows, repeated = assembled(files, TABLES[table], encoded)
        contradicting = [part for part in repeated if not part.equal]
        reads[table] = TableRead(
            table=rows,
            damaged=tuple(sorted({*damaged, *(part.key for part in contradicting)})),
            warnings=(
                *(f"{key} is left out: {issue}; {REPAIR}" for key, issue in damaged.items()),
                *(_repetition(part) for part in repeated),
            ),
        )
    return reads


def _repetition(repeated: RepeatedPart) -> str:
    within = f" (part {repeated.part})" if is_merged(repeated.key) else ""
    if repeated.equal:
        return f"{repeated.key}{within} is a copy of {repeated.other} and is ignored: remove it"
    return (
        f"{repeated.key}{within} is left out: its rows contradict those of {repeated.other}; "
        "remove the wrong one of the two"
    )


def result_files(store: ObjectStore, sweep: str, tables: Sequence[str]) -> list[str]:
    """Return the keys of all files that may hold rows of these tables, sorted.

    Takes one listing: of all results, or of one folder for a single table that is never bundled.
    """
    alone = len(tables) == 1 and tables[0] not in BUNDLED
    keys = store.list(table_folder(sweep, tables[0]) if alone else results_folder(sweep))
    return [key for key in keys if {*tables} & {*tables_of(sweep, key)}]


def tables_of(sweep: str, key: str) -> Sequence[str]:
    """Return the tables whose rows a file may hold; empty for a file that was set aside.

    A file of another program, with another ending, holds no rows.
    """
    name = folder_name(sweep, key)
    if name == FOLDER:
        return BUNDLED if key.endswith(".zip") else []
    return [name] if name in TABLES and key.endswith(".parquet") else []


def set_aside(store: ObjectStore, keys: Sequence[str]) -> None:
    """Move damaged files to `…/results/damaged/`, so that they can be written again."""
    for key in keys:
        results, _, place = key.partition("/results/")
        store.move(key, f"{results}/results/damaged/{place.replace('/', '-')}")


def latest_trials(trials: pa.Table) -> pa.Table:
    """Return the last attempt of each trial, in the order in which the trials first appear."""
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
    """Return the parts of these tables in a file, by table; or the error that prevents it."""
    contained = [table for table in tables_of(sweep, key) if table in tables]
    try:
        data = store.get_immutable(key) if is_merged(key) else store.get(key)
        if is_bundle(key):
            return parts_in(key, data, contained, encoded)
        return {table: [decode(key, data, TABLES[table], encoded)] for table in contained}
    except (DamagedFileError, MissingObjectError) as error:
        store.recent.drop(key)
        return error
