"""Merging of many small result files into few large ones, while other processes use them.

A sweep writes one bundle per stage: 100,000 bundles for 10,000 trials of ten tasks. Each bundle
costs a reader a millisecond, on a bucket a round trip. Merging changes no row. It may be killed at
any time, and two processes may merge at the same time:

* A merged file is written under the checksum of its content and read back. Only then are the files
  that it replaces deleted. Until then a part exists twice, and readers use it once.
* The rows of a deleted file are always in a file that was written before, so a reader that misses
  a file finds its rows after a new listing. A bundle is deleted when all its parts are merged.
* Two processes write the same file, or two files that overlap; those are merged the next time.
* A damaged file stays in its place, so that readers and `damaged_files` can report it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from sweeps.results.bundle_index import BundleIndex
from sweeps.results.bundles import BUNDLED, is_bundle, parts_in
from sweeps.results.parquet_files import (
    DamagedFileError,
    PartFile,
    check_name,
    decode,
    folder_name,
    is_merged,
    merged_file,
    part_id,
    parts_of,
    table_folder,
)
from sweeps.results.part_checks import identity_of, is_plain_name
from sweeps.results.result_parts import READERS, result_files
from sweeps.results.schema import TABLES
from sweeps.storage import MissingObjectError, ObjectStore

LEAST = 256
"""Minimum number of files for which a table is merged. Fewer are read in less than a second."""
MOST_ROWS = 1_000_000
"""Number of rows after which a merged file is complete, about 100 MB in memory."""
AT_ONCE = 2048
"""Number of small parts that are fetched as one batch."""

Part = tuple[str, pa.Table]


@dataclass(frozen=True, slots=True)
class Merging:
    """Result of one call of `merge_results`."""

    written: int
    """Number of merged files that were written."""
    removed: int
    """Number of files that were deleted, because merged files hold their rows."""


def merge_results(
    store: ObjectStore,
    sweep: str,
    tables: Sequence[str] = tuple(TABLES),
    *,
    least: int = LEAST,
    most_rows: int = MOST_ROWS,
) -> Merging:
    """Merge the files of each table that are not full, if there are at least `least` of them.

    A merged file is full if it has at least half of `most_rows` rows and shares no part with
    another one. Raises the errors of the storage; the tables stay valid then.
    """
    keys = result_files(store, sweep, tables)
    bundled = [key for key in keys if is_bundle(key)]
    bundles: BundleIndex | None = None
    written = 0
    replaced: list[str] = []
    merged_ids: dict[str, set[str]] = {}
    for table in tables:
        own = [key for key in keys if folder_name(sweep, key) == table]
        if len(own) + len(bundled if table in BUNDLED else []) < max(least, 2):
            continue
        if table in BUNDLED and bundles is None:
            bundles = BundleIndex(store, bundled)
        index = bundles if table in BUNDLED else None
        merge = _TableMerge(store, sweep, table, own, index, most_rows)
        if merge.files < max(least, 2):
            continue
        files, obsolete = merge.run()
        merged_ids[table] = merge.merged_ids
        written += len(files)
        replaced += obsolete
    if bundles is not None:
        replaced += bundles.fully_merged(merged_ids)
    store.delete_all(replaced)
    return Merging(written, len(replaced))


def damaged_files(
    store: ObjectStore, sweep: str, tables: Sequence[str] = tuple(TABLES)
) -> dict[str, str]:
    """Return the keys of the files that cannot be used, with the reason.

    Parts are decoded. The bytes of a merged file are compared with the checksum in its name, which
    is fast.
    """

    def issue(key: str) -> str | None:
        try:
            data = store.get(key)
            if is_bundle(key):
                parts_in(key, data)
                return None
            schema = TABLES[folder_name(sweep, key)]
            if is_merged(key):
                parts_of(key, data, schema)
                store.recent.keep(key, data)  # valid, and read again soon
            else:
                decode(key, data, schema)
        except DamagedFileError as error:
            return str(error)
        except MissingObjectError:
            return None  # merged or set aside by another process
        return None

    keys = result_files(store, sweep, tables)
    with ThreadPoolExecutor(READERS) as pool:
        issues = list(pool.map(issue, keys))
    return {key: text for key, text in zip(keys, issues, strict=True) if text is not None}


class _TableMerge:
    """Merging of the files of one table."""

    def __init__(
        self,
        store: ObjectStore,
        sweep: str,
        table: str,
        keys: Sequence[str],
        bundles: BundleIndex | None,
        most_rows: int,
    ) -> None:
        self._store, self._sweep, self._table = store, sweep, table
        self._bundles, self._most_rows = bundles, most_rows
        self._small = {part_id(key): key for key in keys if not is_merged(key)}
        self._bundled = bundles.ids(table) if bundles is not None else set()
        outlines, self._kept = self._outlines([key for key in keys if is_merged(key)])
        times = Counter(name for parts in outlines.values() for name in parts)
        self._open = [
            key
            for key, parts in outlines.items()
            if key in self._kept or any(times[name] > 1 for name in parts)
        ]
        self._full = {
            name for key, parts in outlines.items() if key not in self._open for name in parts
        }
        self.merged_ids: set[str] = set()
        """Ids of the parts that merged files hold, set by `run`."""

    @property
    def files(self) -> int:
        """Return the number of files to merge."""
        return len(self._small) + len(self._bundled) + len(self._open)

    def run(self) -> tuple[set[str], list[str]]:
        """Write merged files; return (keys of the new files, keys of the files they replace)."""
        merged = [file for key in self._open if (file := self._read_merged(key)) is not None]
        self.merged_ids = set(self._full)
        new: set[str] = set()
        kept: set[str] = set()
        same = {file.ids: file.key for file in merged}
        for batch in _filled(self._sorted_parts(merged), self._most_rows):
            names = tuple(name for name, _ in batch)
            if names in same:
                kept.add(same[names])
            else:
                new.add(self._put(batch))
            self.merged_ids.update(names)
        replaced = [key for name, key in self._small.items() if name in self.merged_ids]
        replaced += [file.key for file in merged if file.key not in kept | new]
        return new, replaced

    def _outlines(self, keys: Sequence[str]) -> tuple[dict[str, dict[str, int]], dict[str, bytes]]:
        """Return (rows by part of each valid merged file, bytes of those that are small)."""
        outlines: dict[str, dict[str, int]] = {}
        kept: dict[str, bytes] = {}
        for key in keys:
            try:
                data = self._store.get(key)
                outlines[key] = parts_of(key, data, TABLES[self._table])
            except (DamagedFileError, MissingObjectError):
                continue
            if sum(outlines[key].values()) < self._most_rows / 2:
                kept[key] = data
        return outlines, kept

    def _read_merged(self, key: str) -> PartFile | None:
        try:
            data = self._kept.get(key) or self._store.get(key)
            return decode(key, data, TABLES[self._table])
        except (DamagedFileError, MissingObjectError):
            return None

    def _sorted_parts(self, merged: Sequence[PartFile]) -> Iterator[Part]:
        """Yield every part that is in no full file, once, in the order of the ids.

        A copy of a part under another name stays in its place, so that readers report it.
        """
        schema, seen = TABLES[self._table], set[tuple[object, ...]]()
        places: dict[str, pa.Table] = {}
        for file in merged:
            start = 0
            for name, rows in zip(file.ids, file.rows, strict=True):
                places.setdefault(name, file.table.slice(start, rows))
                start += rows
        names = sorted((places.keys() | self._small.keys() | self._bundled) - self._full)
        for start in range(0, len(names), AT_ONCE):
            batch = names[start : start + AT_ONCE]
            fetched = self._fetch([name for name in batch if name not in places])
            for name in batch:
                table = places.get(name, fetched.get(name))
                if table is None:  # damaged, or merged by another process
                    continue
                identity = identity_of(schema, table)
                values = tuple(identity.values())
                if values and values in seen and not is_plain_name(schema, name, identity):
                    continue
                seen.add(values)
                yield name, table

    def _fetch(self, names: Sequence[str]) -> dict[str, pa.Table]:
        schema = TABLES[self._table]

        def part(key: str) -> PartFile | None:
            try:
                return decode(key, self._store.get_immutable(key), schema)
            except (DamagedFileError, MissingObjectError):
                self._store.recent.drop(key)
                return None

        keys = [self._small[name] for name in names if name in self._small]
        with ThreadPoolExecutor(READERS) as pool:
            files = [file for file in pool.map(part, keys) if file is not None]
        fetched = {file.ids[0]: file.table for file in files}
        bundled = [name for name in names if name in self._bundled and name not in fetched]
        if self._bundles is not None and bundled:
            fetched |= self._bundles.fetch(self._table, bundled)
        return fetched

    def _put(self, batch: Sequence[Part]) -> str:
        """Store a merged file and verify the stored bytes, before any file is deleted."""
        key, data = merged_file(table_folder(self._sweep, self._table), batch)
        self._store.put_if_absent(key, data)
        try:
            check_name(key, self._store.get(key))
        except (DamagedFileError, MissingObjectError):
            self._store.put(key, data)
            check_name(key, self._store.get(key))
        return key


def _filled(parts: Iterator[Part], most_rows: int) -> Iterator[list[Part]]:
    """Yield the parts in batches of at least `most_rows` rows; the last batch may have fewer."""
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
