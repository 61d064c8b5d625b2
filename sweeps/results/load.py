"""The tables of one sweep or of all sweeps of a storage, read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from clmethods.config.faults import Fault, InvalidConfigError, nearest
from sweeps.results.parts import latest_trials, read_table
from sweeps.results.schema import TABLES
from sweeps.storage import ObjectStore, open_storage


@dataclass(frozen=True, slots=True)
class StoredTables:
    """Every result table of one sweep, as far as its parts could be read."""

    sweep: str
    tables: dict[str, pa.Table]
    """By name; of `trials` the last attempt of each."""
    warnings: tuple[str, ...]
    """One sentence per part that was left out."""


@dataclass(frozen=True, slots=True)
class Location:
    """What a directory holds."""

    objects: ObjectStore
    name: str | None
    """The sweep, where the directory is STORAGE/sweeps/NAME."""
    sweeps: tuple[str, ...]
    """Names of all sweeps of the storage."""

    def one(self, directory: str) -> str:
        """The sweep that is meant: the named one, or the only one.

        Raises `InvalidConfigError` where that is none or several.
        """
        names = list(self.sweeps)
        chosen = names[0] if self.name is None and len(names) == 1 else self.name
        if chosen in names:
            return chosen
        allowed = f"STORAGE/sweeps/NAME with NAME one of {names}" if names else "a sweep's storage"
        mend = nearest(chosen or "", names)
        mend = mend if names else "Run `sweeps run` with this storage first."
        raise InvalidConfigError([Fault("DIR", directory, allowed, mend)])

    def all(self, directory: str) -> tuple[str, ...]:
        """The sweeps that are meant: the named one, or all. Raises `InvalidConfigError`."""
        if self.name is None and self.sweeps:
            return self.sweeps
        return (self.one(directory),)


def locate(directory: str) -> Location:
    """The storage and the sweeps of DIR: STORAGE, or STORAGE/sweeps/NAME, local or a bucket.

    Raises `InvalidConfigError` if a local directory does not exist.
    """
    root, _, name = directory.rstrip("/").rpartition("/sweeps/")
    if not root:
        root, name = directory, ""
    if "://" not in root and not Path(root).is_dir():
        raise InvalidConfigError([Fault("DIR", directory, "an existing storage directory")])
    objects = open_storage(root, create=False)
    found = sorted(
        key.split("/")[1] for key in objects.list("sweeps") if key.endswith("/sweep.yaml")
    )
    return Location(objects, name or None, tuple(found))


def load_tables(objects: ObjectStore, sweep: str) -> StoredTables:
    """All tables of one sweep; damaged parts are left out and named.

    Texts that repeat are Arrow dictionaries (`TableSchema.encoded`).
    """
    reads = {name: read_table(objects, sweep, name, encoded=True) for name in TABLES}
    tables = {name: read.table for name, read in reads.items()}
    tables["trials"] = latest_trials(tables["trials"])
    warnings = tuple(warning for read in reads.values() for warning in read.warnings)
    return StoredTables(sweep, tables, warnings)


def stacked(sweeps: Sequence[str], tables: Sequence[pa.Table]) -> pa.Table:
    """The same table of several sweeps, one below the other, with a first column `sweep`."""
    names = pa.array(sweeps, pa.string())
    number = np.repeat(np.arange(len(sweeps), dtype=np.int32), [len(table) for table in tables])
    whole = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    return whole.add_column(0, "sweep", pa.DictionaryArray.from_arrays(number, names))
