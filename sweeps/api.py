"""Public API for notebooks: `sweeps.load("runs/demo")` returns the tables of stored sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import pyarrow as pa

from clmethods.config import InvalidConfigError
from sweeps.analysis.trials.factor_columns import with_factor_columns
from sweeps.analysis.trials.reference_metrics import full_summary
from sweeps.results.load import StoredTables, SweepLocation, load_tables, locate, stack_tables
from sweeps.results.query import query
from sweeps.results.schema import TABLES

SPLITS = ("validation", "test")


@final
@dataclass(frozen=True, slots=True)
class LoadedSweeps:
    """Result tables as Arrow tables, each with `sweep` as its first column.

    Repeated texts (`sweep`, and those of `TableSchema.repeated`) are Arrow dictionaries.

    `trials` and `summary` have a column `wanted`: true if the sweep file currently requests the
    trial, false if only an earlier version of the file requested it. The column is null if the
    file can no longer be resolved.
    """

    trials: pa.Table
    """Last attempt of each trial."""
    stages: pa.Table
    evals: pa.Table
    matrices: pa.Table
    summary: pa.Table
    """One row per trial, readout and split with all metrics, and one column per searched field,
    named by its dotted path. Lists are JSON text."""
    warnings: tuple[str, ...]
    """One sentence for each part that could not be read, or repeats another one, and was left
    out."""
    damaged: tuple[str, ...] = ()
    """Keys of the files that were left out and whose rows may be missing; copies do not count."""

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The five tables by name."""
        return {name: getattr(self, name) for name in (*TABLES, "summary")}

    def query(self, sql: str) -> pa.Table:
        """Return the result of one SQL statement over the five tables.

        Raises:
            QueryError: If the statement is invalid.
        """
        return query(self.tables, sql)

    def pandas(self) -> dict[str, Any]:
        """Return the five tables as pandas data frames by name, without categorical columns.

        Raises:
            ImportError: If pandas is not installed: `pip install pandas`.
        """
        return {name: _plain(table).to_pandas() for name, table in self.tables.items()}


def load(directory: str) -> LoadedSweeps:
    """Return the tables of the sweep at STORAGE/sweeps/NAME, or of all sweeps of a storage.

    Example::

        tables = sweeps.load("runs/demo")
        tables.summary.to_pandas().groupby(["label", "split"])["average_accuracy"].mean()
        tables.query("SELECT label, avg(forgetting) FROM summary WHERE split = 'test' GROUP BY 1")

    Parts that cannot be read are left out and listed in `warnings`.

    Raises:
        InvalidConfigError: If the directory contains no sweep.
    """
    place = locate(directory)
    names = place.all(directory)
    stored = [load_tables(place.objects, name) for name in names]
    unread: dict[str, str] = {}
    requested = [_requested(place, tables_of_sweep, unread) for tables_of_sweep in stored]
    tables = {
        name: stack_tables(names, [tables_of_sweep.tables[name] for tables_of_sweep in stored])
        for name in TABLES
    }
    tables["summary"] = stack_tables(names, summaries_of(stored))
    all_requested = {trial for ids in requested for trial in (ids or ())}
    known = {name for name, ids in zip(names, requested, strict=True) if ids is not None}
    for name in ("trials", "summary"):
        table = tables[name]
        flags = [
            trial in all_requested if sweep in known else None
            for sweep, trial in zip(
                table["sweep"].to_pylist(), table["trial_id"].to_pylist(), strict=True
            )
        ]
        tables[name] = table.append_column("wanted", pa.array(flags, pa.bool_()))
    warnings = [warning for tables_of_sweep in stored for warning in tables_of_sweep.warnings]
    damaged = [key for tables_of_sweep in stored for key in tables_of_sweep.damaged]
    return LoadedSweeps(
        **tables, warnings=(*warnings, *unread.values()), damaged=(*damaged, *unread)
    )


def summaries_of(stored: Sequence[StoredTables]) -> list[pa.Table]:
    """Return the summary of each sweep: a row per trial, readout and split, with all metrics.

    The columns of searched fields are named by their dotted paths. A field has the same type in
    all of the summaries.
    """
    summaries = [_metrics_of(tables_of_sweep.tables) for tables_of_sweep in stored]
    trials = [tables_of_sweep.tables["trials"] for tables_of_sweep in stored]
    return with_factor_columns(summaries, trials)


def _metrics_of(tables: Mapping[str, pa.Table]) -> pa.Table:
    trials, evals, stages = (tables[name] for name in ("trials", "evals", "stages"))
    return pa.concat_tables([full_summary(trials, evals, stages, split) for split in SPLITS])


def _plain(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries: for categories, `groupby` counts all combinations."""
    fields = [
        f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def _requested(
    place: SweepLocation, stored: StoredTables, unread: dict[str, str]
) -> set[str] | None:
    """Return the ids of the requested trials; None if the sweep file can no longer be resolved.

    Adds to `unread` a sentence for each damaged object without which they were determined.
    """
    # pydantic, which only this part needs
    from sweeps.definition import ChangedSweepFileError, stored_sweep
    from sweeps.search.stored_observations import read_step

    try:
        step, left_out = read_step(stored_sweep(place.objects, stored.sweep), place.objects)
    except ChangedSweepFileError:
        raise
    except InvalidConfigError:
        return None
    unread.update(left_out)
    return {trial.trial_id for trial in step.trials}
