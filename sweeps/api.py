"""Public API for notebooks: `sweeps.load("runs/demo")` returns the tables of stored sweeps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, final

import pyarrow as pa

from clmethods.config import InvalidConfigError
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
    """One sentence for each part that could not be read and was left out."""

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
    requested = [_requested(place, tables_of_sweep) for tables_of_sweep in stored]
    summaries = [summary_of(tables_of_sweep) for tables_of_sweep in stored]
    tables = {
        name: stack_tables(names, [tables_of_sweep.tables[name] for tables_of_sweep in stored])
        for name in TABLES
    }
    tables["summary"] = stack_tables(names, summaries)
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
    warnings = tuple(warning for tables_of_sweep in stored for warning in tables_of_sweep.warnings)
    return LoadedSweeps(**tables, warnings=warnings)


def summary_of(stored: StoredTables) -> pa.Table:
    """Return one row per trial, readout and split with all metrics and the searched fields.

    The columns of searched fields are named by their dotted paths.
    """
    trials, evals = stored.tables["trials"], stored.tables["evals"]
    stages = stored.tables["stages"]
    summary = pa.concat_tables([full_summary(trials, evals, stages, split) for split in SPLITS])
    factors = {
        trial["trial_id"]: json.loads(trial["factors"])
        for trial in trials.select(["trial_id", "factors"]).to_pylist()
    }
    of_row = [factors[trial] for trial in summary["trial_id"].to_pylist()]
    for path in dict.fromkeys(
        path for trial_factors in factors.values() for path in trial_factors
    ):
        summary = summary.append_column(path, _column([row.get(path) for row in of_row]))
    return summary


def _plain(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries: for categories, `groupby` counts all combinations."""
    fields = [
        f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def _column(values: list[Any]) -> pa.Array:
    """Return the values with their own type, or as JSON text for lists and mixed types."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {str, bool}):
        return pa.array(values, pa.float64() if kinds == {int, float} else None)
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pa.array(texts, pa.string())


def _requested(place: SweepLocation, stored: StoredTables) -> set[str] | None:
    """Return the ids of the requested trials; None if the sweep file can no longer be resolved."""
    from sweeps.definition import stored_sweep  # pydantic, which only this part needs
    from sweeps.search.stored_observations import current_step

    try:
        step = current_step(stored_sweep(place.objects, stored.sweep), place.objects)
    except InvalidConfigError:
        return None
    return {trial.trial_id for trial in step.trials}
