"""Measured task tables on disk, beside the decoded images: read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import NamedTemporaryFile

from clmethods.canonical import plain
from clmethods.config.task_table import TaskTable
from clmethods.data.cache import cache_dir
from clmethods.data.source import DatasetError


def kept_table(identity: str) -> TaskTable | None:
    """The table with that id (`clmethods.config.task_table.table_id`), if it is in the cache."""
    try:
        found = json.loads(_path(identity).read_bytes())
        table = TaskTable(
            of=found["of"],
            distance=tuple(map(tuple, found["distance"])),
            error=tuple(found["error"]),
            ambiguity=tuple(found["ambiguity"]),
        )
    except (OSError, ValueError, KeyError, TypeError):  # not there, or cut off: measured again
        return None
    return table if table.of == identity else None


def keep_table(table: TaskTable) -> None:
    """Write the table to the cache: aside, then renamed. Raises `DatasetError` without room."""
    path = _path(table.of)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as aside:
            json.dump(plain(table), aside)
        Path(aside.name).replace(path)
    except OSError as error:
        raise DatasetError(
            f"the task table cannot be kept in {path.parent}: {error.strerror or error}. "
            "Set CLMETHODS_CACHE to a folder with room."
        ) from error


def _path(identity: str) -> Path:
    return cache_dir() / f"tasks-{identity}.json"
