"""Index of the parts in bundles, used by merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from sweeps.results.bundles import BUNDLED, members_of, parts_in
from sweeps.results.parquet_files import DamagedFileError, PartFile
from sweeps.results.result_parts import READERS
from sweeps.storage import MissingObjectError, ObjectStore


class BundleIndex:
    """Index of the parts of all readable bundles.

    Each bundle is fetched once if all of them fit into memory, otherwise once more per table.
    """

    def __init__(self, store: ObjectStore, keys: Sequence[str]) -> None:
        self._store = store
        self._ids: dict[str, dict[str, set[str]]] = {}  # by bundle and table
        self._where: dict[str, dict[str, str]] = {table: {} for table in BUNDLED}
        with ThreadPoolExecutor(READERS) as pool:
            for key, ids in zip(keys, pool.map(self._part_ids, keys), strict=True):
                if ids is None:
                    continue
                self._ids[key] = ids
                for table, names in ids.items():
                    self._where[table].update(dict.fromkeys(names, key))

    def ids(self, table: str) -> set[str]:
        """Return the ids of the parts of a table."""
        return {*self._where[table]}

    def fetch(self, table: str, names: Sequence[str]) -> dict[str, pa.Table]:
        """Return the rows of parts of a table, by part id, without missing or damaged parts."""

        def opened(key: str) -> list[PartFile]:
            try:
                return parts_in(key, self._store.get_immutable(key), [table])[table]
            except (DamagedFileError, MissingObjectError):
                self._store.recent.drop(key)
                return []

        keys = list(dict.fromkeys(self._where[table][name] for name in names))
        with ThreadPoolExecutor(READERS) as pool:
            files = [file for some in pool.map(opened, keys) for file in some]
        return {file.ids[0]: file.table for file in files}

    def fully_merged(self, merged_ids: Mapping[str, set[str]]) -> list[str]:
        """Return the keys of the bundles whose parts are all in merged files.

        `merged_ids`: ids of the parts that merged files contain, by table.
        """
        return [
            key
            for key, ids in self._ids.items()
            if all(names <= merged_ids.get(table, set()) for table, names in ids.items())
        ]

    def _part_ids(self, key: str) -> dict[str, set[str]] | None:
        try:
            members = members_of(self._store.get_immutable(key))
        except (DamagedFileError, MissingObjectError):
            self._store.recent.drop(key)
            return None
        return {table: {*names} for table, names in members.items()}
