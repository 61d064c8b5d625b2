"""Cache of measured task tables, in the folder of the decoded images; it does not need torch."""

from __future__ import annotations

import json
from pathlib import Path

from clmethods.canonical import plain
from clmethods.config.task_table import TaskTable
from clmethods.data.cache import write_atomically
from clmethods.data.source import DatasetError
from clmethods.user_data.cache_folder import cache_dir


def kept_table(identity: str) -> TaskTable | None:
    """Return the cached table with an id of `clmethods.config.task_table.table_id`, or None."""
    try:
        content = json.loads(_path(identity).read_bytes())
        table = TaskTable(
            of=content["of"],
            distance=tuple(map(tuple, content["distance"])),
            error=tuple(content["error"]),
            ambiguity=tuple(content["ambiguity"]),
        )
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: measure it again
        return None
    return table if table.of == identity else None


def keep_table(table: TaskTable) -> None:
    """Write the table to the cache. Raises `DatasetError` if the cache folder is not writable."""
    path, text = _path(table.of), json.dumps(plain(table))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise DatasetError(
            f"the task table cannot be stored in {path.parent}: {error.strerror or error}. "
            "Set CLMETHODS_CACHE to a folder with enough space."
        ) from error


def _path(identity: str) -> Path:
    return cache_dir() / f"tasks-{identity}.json"
