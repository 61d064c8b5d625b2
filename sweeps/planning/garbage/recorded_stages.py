"""Stages that rows of result tables name: without them, results cannot be verified any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import final

import pyarrow as pa

from sweeps.results import read_table
from sweeps.results.result_parts import read_tables
from sweeps.results.schema import TABLES
from sweeps.storage import ObjectStore

SHOWN = 3
"""Maximum number of labels in a text."""


@final
@dataclass(frozen=True, slots=True)
class RecordedStages:
    """Stages that are named by any row of any table of a storage."""

    sweeps: dict[str, set[str]]
    """Names of the sweeps whose rows name a stage, by the key of the stage."""
    unreadable: tuple[str, ...]
    """Keys of files of tables that cannot be read: the stages that they name are unknown."""


def recorded_stages(objects: ObjectStore) -> RecordedStages:
    """Return the stages that rows name, over all sweeps of a storage."""
    sweeps: dict[str, set[str]] = defaultdict(set)
    unreadable: list[str] = []
    for name in objects.folders("sweeps"):
        reads = read_tables(objects, name, list(TABLES), encoded=True)
        unreadable += [key for read in reads.values() for key in read.damaged]
        for table, read in reads.items():
            columns = ["stage_keys"] if table == "trials" else ["stage_key"]
            columns += ["parent"] if table == "stages" else []
            for key in _distinct(read.table, columns):
                sweeps[key].add(name)
    return RecordedStages(dict(sweeps), tuple(dict.fromkeys(unreadable)))


def unverifiable(objects: ObjectStore, sweep: str, stages: Collection[str]) -> str:
    """Return which results of a sweep could not be verified any more without these stages."""
    trials = read_table(objects, sweep, "trials").table.select(["trial_id", "label", "stage_keys"])
    lost = [row for row in trials.to_pylist() if not set(row["stage_keys"]).isdisjoint(stages)]
    if not lost:
        return f"rows of {len(stages)} stages of sweep {sweep!r}, which no trial has"
    labels = [*dict.fromkeys(row["label"] for row in lost)]
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    count = len({row["trial_id"] for row in lost})
    return f"{count} trials of sweep {sweep!r}: {', '.join(labels[:SHOWN])}{more}"


def _distinct(table: pa.Table, columns: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for column in columns:
        values = table[column].combine_chunks()
        if pa.types.is_list(values.type):
            values = values.flatten()
        found.update(value for value in values.unique().to_pylist() if value is not None)
    return found
