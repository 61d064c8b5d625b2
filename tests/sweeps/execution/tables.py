"""Tables that must be equal, bit for bit, after any interruption of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from sweeps.results import latest_trials, read_table
from sweeps.results.schema import TABLES
from sweeps.stages.stage_rows import NO_COST
from sweeps.storage import open_storage

COST = {*NO_COST}
"""Columns that say who computed something, with what, and how long it took."""
ATTEMPT = {"attempt"}

Tables = dict[str, list[dict[str, Any]]]


def final_tables(storage: Path, sweep: str) -> Tables:
    """The rows of all tables without costs and attempts, in an order of their own."""
    objects = open_storage(str(storage))
    found: Tables = {}
    for name, schema in TABLES.items():
        read = read_table(objects, sweep, name)
        assert read.warnings == ()
        table: pa.Table = latest_trials(read.table) if name == "trials" else read.table
        kept = [column for column in table.column_names if column not in COST | ATTEMPT]
        rows = [
            {name: _bits(value) for name, value in row.items()}
            for row in table.select(kept).to_pylist()
        ]
        key = [column for column in schema.key if column in kept]
        found[name] = sorted(rows, key=lambda row: [str(row[column]) for column in key])
        assert len({tuple(str(row[column]) for column in key) for row in rows}) == len(rows)
    return found


def stage_files(storage: Path) -> dict[str, Path]:
    """The committed stages: their marker files by key."""
    return {marker.parent.name: marker for marker in storage.glob("stages/*/*/stage.json")}


def rewritten(storage: Path) -> list[str]:
    """Stages whose payloads were written again after they had been committed.

    Payloads are put before the marker, so a payload that is newer was computed for nothing.
    """
    return [
        key
        for key, marker in stage_files(storage).items()
        for pattern in ("state-*", "result-*")
        for payload in marker.parent.glob(pattern)
        if payload.stat().st_mtime_ns > marker.stat().st_mtime_ns
    ]


def _bits(value: Any) -> Any:
    """Floats spelt out, so that equal means equal in every bit."""
    if isinstance(value, list):
        return [_bits(item) for item in value]
    return value.hex() if isinstance(value, float) else value
