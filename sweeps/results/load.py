"""The tables of one sweep or of all sweeps of a storage, read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from sweeps.results.parts import READERS, latest_trials, read_tables
from sweeps.results.schema import TABLES
from sweeps.storage import ObjectStore, open_storage, parse_location, require_storage


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
        hint = nearest(chosen or "", names)
        hint = hint if names else "Run `sweeps run` with this storage first."
        raise InvalidConfigError([ConfigIssue("DIR", directory, allowed, hint)])

    def all(self, directory: str) -> tuple[str, ...]:
        """The sweeps that are meant: the named one, or all. Raises `InvalidConfigError`."""
        if self.name is None and self.sweeps:
            return self.sweeps
        return (self.one(directory),)


def locate(
    directory: str, notify: Callable[[str], None] = lambda message: None, *, write: bool = False
) -> Location:
    """The storage and the sweeps of DIR: STORAGE, or STORAGE/sweeps/NAME, local or a bucket.

    `notify` is told of outages. Raises `InvalidConfigError` if a local directory does not exist,
    and where a bucket cannot be read, or written if `write` asks for that.
    """
    root, name = _parted(directory)
    if parse_location(root) is None and not Path(root).is_dir():
        raise InvalidConfigError([ConfigIssue("DIR", directory, "an existing storage directory")])
    objects = open_storage(root, create=False, notify=notify)
    require_storage(objects, write=write)
    return Location(objects, name or None, sweep_names(objects))


def sweep_names(objects: ObjectStore) -> tuple[str, ...]:
    """Names of the sweeps that were run on a storage."""
    names = objects.folders("sweeps")
    with ThreadPoolExecutor(READERS) as pool:
        there = list(pool.map(lambda name: objects.exists(f"sweeps/{name}/sweep.yaml"), names))
    return tuple(name for name, found in zip(names, there, strict=True) if found)


def _parted(directory: str) -> tuple[str, str]:
    """(the storage, the name of the sweep or nothing) of DIR; a bucket may be called `sweeps`."""
    url = parse_location(directory)
    start = f"{url.scheme}://{url.bucket}" if url is not None else ""
    path = f"/{url.prefix}" if url is not None else directory.rstrip("/")
    root, found, name = path.rpartition("/sweeps/")
    if not found or not (start or root):
        return (directory, "") if url is None else (url.url, "")
    return start + root, name


def load_tables(objects: ObjectStore, sweep: str) -> StoredTables:
    """All tables of one sweep; damaged parts are left out and named.

    Texts that repeat are Arrow dictionaries (`TableSchema.encoded`).
    """
    reads = read_tables(objects, sweep, list(TABLES), encoded=True)
    tables = {name: read.table for name, read in reads.items()}
    tables["trials"] = latest_trials(tables["trials"])
    warnings = tuple(dict.fromkeys(w for read in reads.values() for w in read.warnings))
    return StoredTables(sweep, tables, warnings)


def stacked(sweeps: Sequence[str], tables: Sequence[pa.Table]) -> pa.Table:
    """The same table of several sweeps, one below the other, with a first column `sweep`."""
    names = pa.array(sweeps, pa.string())
    number = np.repeat(np.arange(len(sweeps), dtype=np.int32), [len(table) for table in tables])
    whole = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    return whole.add_column(0, "sweep", pa.DictionaryArray.from_arrays(number, names))
