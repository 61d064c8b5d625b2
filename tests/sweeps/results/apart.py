"""A storage as an earlier version wrote it: a part for each table and stage, no bundles."""

from __future__ import annotations

from pathlib import Path

from sweeps.results.bundles import members_of
from sweeps.storage import open_storage


def take_apart(storage: Path, sweep: str) -> None:
    """Put the parts of every bundle into the folders of their tables, and delete the bundles."""
    objects = open_storage(str(storage))
    results = f"sweeps/{sweep}/results"
    for key in list(objects.list(f"{results}/bundles")):
        for table, parts in members_of(objects.get(key)).items():
            for name, data in parts.items():
                objects.put(f"{results}/{table}/{name}.parquet", data)
        objects.delete(key)
