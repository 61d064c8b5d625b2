"""Many small files of a table into few big ones, while others read and write it.

A sweep leaves one part per stage, 100,000 of them for 10,000 trials of ten tasks, and each costs a
reader a millisecond, on a bucket a round trip. Merging changes no row, may be killed anywhere and
may run twice at once:

* A merged file is written whole under the name of its content, read back, and only then are the
  files that it replaces removed. Until then a part is there twice, and readers take it once.
* What is removed is always held by a file that was written before, so a reader that misses a file
  finds its rows by listing again.
* Two at once write the same file, or two that overlap; those are merged next time.
* A damaged file is left where it is, for readers to name and for `damaged_files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from sweeps.results.files import (
    DamagedFileError,
    PartFile,
    check_name,
    decode,
    is_merged,
    merged_file,
    part_id,
    parts_of,
    table_folder,
)
from sweeps.results.parts import READERS, read_file
from sweeps.results.schema import TABLES, TableSchema
from sweeps.storage import MissingObjectError, ObjectStore

LEAST = 256
"""Files that are worth merging: fewer are read in less than a second."""
MOST_ROWS = 1_000_000
"""Rows of a merged file, unless its last part has more: some 100 MB in memory."""
AT_ONCE = 2048
"""Small parts fetched before they are put into place."""

Part = tuple[str, pa.Table]


@dataclass(frozen=True, slots=True)
class Merging:
    """What one call did to a table."""

    written: int
    """Merged files."""
    removed: int
    """Files whose rows merged files hold."""


def merge_parts(
    store: ObjectStore, sweep: str, table: str, *, least: int = LEAST, most_rows: int = MOST_ROWS
) -> Merging:
    """Merge the files of a table that are not full, if they are at least `least`.

    Full are merged files of half of `most_rows` that share no part with another one. Raises what
    the storage raises; whatever was done by then is sound.
    """
    schema, folder = TABLES[table], table_folder(sweep, table)
    keys = list(store.list(folder))
    if len(keys) < max(least, 2):
        return Merging(0, 0)
    small = {part_id(key): key for key in keys if not is_merged(key)}
    merged = _outlines(store, [key for key in keys if is_merged(key)], schema)
    times = Counter(name for parts in merged.values() for name in parts)
    open_ = [
        key
        for key, parts in merged.items()
        if sum(parts.values()) < most_rows / 2 or any(times[name] > 1 for name in parts)
    ]
    if len(small) + len(open_) < max(least, 2):
        return Merging(0, 0)
    files = [read_file(store, key, schema) for key in open_]
    sound = [file for file in files if isinstance(file, PartFile)]
    full = {name for key, parts in merged.items() if key not in open_ for name in parts}
    held: set[str] = set(full)
    written: set[str] = set()
    same = {file.ids: file.key for file in sound}
    for batch in _filled(_sorted_parts(store, small, sound, full, schema), most_rows):
        names = tuple(name for name, _ in batch)
        if names in same:
            written.add(same[names])
        else:
            written.add(_put(store, *merged_file(folder, batch)))
        held.update(names)
    replaced = [key for name, key in small.items() if name in held]
    replaced += [file.key for file in sound if file.key not in written]
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(store.delete, replaced))
    return Merging(len(written), len(replaced))


def damaged_files(store: ObjectStore, sweep: str, table: str) -> dict[str, str]:
    """Keys of the files that cannot be used, with the reason.

    Parts are decoded; of merged files the bytes are held against the name, which is quick.
    """
    schema = TABLES[table]

    def fault(key: str) -> str | None:
        try:
            data = store.get(key)
            if is_merged(key):
                parts_of(key, data, schema)
            else:
                decode(key, data, schema)
        except DamagedFileError as error:
            return str(error)
        except MissingObjectError:
            return None  # merged, or set aside by another
        return None

    keys = list(store.list(table_folder(sweep, table)))
    with ThreadPoolExecutor(READERS) as pool:
        faults = list(pool.map(fault, keys))
    return {key: text for key, text in zip(keys, faults, strict=True) if text is not None}


def _outlines(
    store: ObjectStore, keys: Sequence[str], schema: TableSchema
) -> dict[str, dict[str, int]]:
    """Number of rows by part, of the merged files that are sound."""
    found: dict[str, dict[str, int]] = {}
    for key in keys:
        try:
            found[key] = parts_of(key, store.get(key), schema)
        except (DamagedFileError, MissingObjectError):
            continue
    return found


def _sorted_parts(
    store: ObjectStore,
    small: Mapping[str, str],
    merged: Sequence[PartFile],
    full: set[str],
    schema: TableSchema,
) -> Iterator[Part]:
    """Every part that is in no full file, once, in the order of the ids."""
    places: dict[str, pa.Table] = {}
    for file in merged:
        start = 0
        for name, rows in zip(file.ids, file.rows, strict=True):
            places.setdefault(name, file.table.slice(start, rows))
            start += rows
    names = sorted((places.keys() | small.keys()) - full)
    for start in range(0, len(names), AT_ONCE):
        wanted = names[start : start + AT_ONCE]
        keys = [small[name] for name in wanted if name not in places]
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(lambda key: read_file(store, key, schema), keys))
        fetched = {file.ids[0]: file.table for file in read if isinstance(file, PartFile)}
        for name in wanted:
            table = places.get(name, fetched.get(name))
            if table is not None:  # else damaged, or taken by another who merges
                yield name, table


def _filled(parts: Iterator[Part], most_rows: int) -> Iterator[list[Part]]:
    """The parts in runs of `most_rows` rows; the last one has what is left."""
    batch: list[Part] = []
    rows = 0
    for part in parts:
        batch.append(part)
        rows += len(part[1])
        if rows >= most_rows:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _put(store: ObjectStore, key: str, data: bytes) -> str:
    """Store a merged file and see that it is there whole, before anything is removed."""
    store.put_if_absent(key, data)
    try:
        check_name(key, store.get(key))
    except (DamagedFileError, MissingObjectError):
        store.put(key, data)
        check_name(key, store.get(key))
    return key
