"""Loading of the result tables of one sweep, or of all sweeps of a storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from sweeps.results.result_parts import READERS, latest_trials, read_tables
from sweeps.results.schema import TABLES
from sweeps.storage import ObjectStore, open_storage, parse_storage_url, require_storage
from sweeps.storage.key_layout import records_of
from sweeps.storage.nearby_storages import storage_hint


@dataclass(frozen=True, slots=True)
class StoredTables:
    """Result tables of one sweep, without parts that could not be read."""

    sweep: str
    tables: dict[str, pa.Table]
    """Tables by name; `trials` contains the last attempt of each trial."""
    warnings: tuple[str, ...]
    """One sentence per file that was left out."""
    damaged: tuple[str, ...] = ()
    """Keys of the files that were left out and whose rows may be missing."""


@dataclass(frozen=True, slots=True)
class SweepLocation:
    """Storage and sweeps of a directory."""

    objects: ObjectStore
    name: str | None
    """Name of the sweep if the directory is STORAGE/sweeps/NAME; otherwise None."""
    sweeps: tuple[str, ...]
    """Names of all sweeps of the storage."""

    def require_single(self, directory: str) -> str:
        """Return the sweep of a directory: the named one, or the only one.

        Raises `InvalidConfigError` if there is none, or if there are several and none is named.
        """
        names = list(self.sweeps)
        chosen = names[0] if self.name is None and len(names) == 1 else self.name
        if chosen in names:
            return chosen
        allowed = f"STORAGE/sweeps/NAME with NAME one of {names}" if names else "a sweep's storage"
        hint = nearest(chosen or "", names)
        if not names:
            local = parse_storage_url(directory) is None
            hint = storage_hint(directory) if local else ""
            hint = hint or "Run `sweeps run` with this storage first."
        raise InvalidConfigError([ConfigIssue("DIR", directory, allowed, hint)])

    def all(self, directory: str) -> tuple[str, ...]:
        """Return the sweeps of a directory: the named one, or all. Raises `InvalidConfigError`."""
        if self.name is None and self.sweeps:
            return self.sweeps
        return (self.require_single(directory),)


def locate(
    directory: str, notify: Callable[[str], None] = lambda message: None, *, write: bool = False
) -> SweepLocation:
    """Open the storage of DIR, which is STORAGE or STORAGE/sweeps/NAME, local or a bucket.

    `notify` is called with a message at storage outages. Raises `InvalidConfigError` if a local
    directory does not exist, if a bucket cannot be read, or, with `write`, if it cannot be
    written.
    """
    root, name = _split(directory)
    if parse_storage_url(root) is None and not Path(root).is_dir():
        allowed = "an existing storage directory"
        raise InvalidConfigError([ConfigIssue("DIR", directory, allowed, storage_hint(root))])
    objects = open_storage(root, create=False, notify=notify)
    require_storage(objects, write=write)
    return SweepLocation(objects, name or None, sweep_names(objects))


def storage_of(directory: str) -> str:
    """Return the storage of DIR, which is STORAGE or STORAGE/sweeps/NAME."""
    return _split(directory)[0]


def sweep_names(objects: ObjectStore) -> tuple[str, ...]:
    """Return the names of the sweeps that were run on a storage.

    A folder with records of a run is a sweep even if its sweep file was lost.
    """

    def is_sweep(name: str) -> bool:
        return objects.exists(f"sweeps/{name}/sweep.yaml") or bool(records_of(objects, name))

    names = objects.folders("sweeps")
    with ThreadPoolExecutor(READERS) as pool:
        exists = list(pool.map(is_sweep, names))
    return tuple(name for name, existing in zip(names, exists, strict=True) if existing)


def _split(directory: str) -> tuple[str, str]:
    """Return (storage, name of the sweep or "") of DIR. A bucket may be named `sweeps`."""
    url = parse_storage_url(directory)
    start = f"{url.scheme}://{url.bucket}" if url is not None else ""
    path = f"/{url.prefix}" if url is not None else directory.rstrip("/")
    root, separator, name = path.rpartition("/sweeps/")
    if not separator or not (start or root):
        return (directory, "") if url is None else (url.url, "")
    return start + root, name


def load_tables(objects: ObjectStore, sweep: str) -> StoredTables:
    """Load all tables of one sweep; damaged parts are left out and listed in `warnings`.

    Repeated texts are Arrow dictionaries (`TableSchema.encoded`).
    """
    reads = read_tables(objects, sweep, list(TABLES), encoded=True)
    tables = {name: read.table for name, read in reads.items()}
    tables["trials"] = latest_trials(tables["trials"])
    warnings = tuple(dict.fromkeys(w for read in reads.values() for w in read.warnings))
    damaged = tuple(dict.fromkeys(key for read in reads.values() for key in read.damaged))
    return StoredTables(sweep, tables, warnings, damaged)


def stack_tables(sweeps: Sequence[str], tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate the same table of several sweeps, with a first column `sweep`."""
    names = pa.array(sweeps, pa.string())
    number = np.repeat(np.arange(len(sweeps), dtype=np.int32), [len(table) for table in tables])
    whole = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    return whole.add_column(0, "sweep", pa.DictionaryArray.from_arrays(number, names))
