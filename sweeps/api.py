"""The tables of stored sweeps in a notebook: `sweeps.load("runs/demo")`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, final

import pyarrow as pa

from clmethods.config import InvalidConfigError
from sweeps.analysis.runs.reference_metrics import full_summary
from sweeps.results.load import Location, StoredTables, load_tables, locate, stacked
from sweeps.results.query import query
from sweeps.results.schema import TABLES

SPLITS = ("validation", "test")


@final
@dataclass(frozen=True, slots=True)
class Loaded:
    """Result tables as Arrow tables; every one begins with a column `sweep`.

    Texts that repeat (`sweep`, and those of `TableSchema.repeated`) are Arrow dictionaries.

    `trials` and `summary` have a column `wanted`: whether the sweep file asks for the trial now.
    What an earlier version of the file asked for stays in the storage and is marked false; null
    where the file can no longer be resolved.
    """

    trials: pa.Table
    """The last attempt of each trial."""
    stages: pa.Table
    evals: pa.Table
    matrices: pa.Table
    summary: pa.Table
    """One row per trial, readout and split with every metric, and a column per searched field,
    named by its dotted path. Lists are JSON text there."""
    warnings: tuple[str, ...]
    """One sentence for each part that could not be read and was left out."""

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The five tables by name."""
        return {name: getattr(self, name) for name in (*TABLES, "summary")}

    def query(self, sql: str) -> pa.Table:
        """The answer to one SQL statement over the five tables. Raises `QueryError`."""
        return query(self.tables, sql)

    def pandas(self) -> dict[str, Any]:
        """The five tables as pandas data frames, by name; texts are texts, not categories.

        Raises ImportError where pandas is not installed: `pip install pandas`.
        """
        return {name: _plain(table).to_pandas() for name, table in self.tables.items()}


def load(directory: str) -> Loaded:
    """The tables of the sweep at STORAGE/sweeps/NAME, or of all sweeps of a storage.

        found = sweeps.load("runs/demo")
        found.summary.to_pandas().groupby(["label", "split"])["average_accuracy"].mean()
        found.query("SELECT label, avg(forgetting) FROM summary WHERE split = 'test' GROUP BY 1")

    Parts that cannot be read are left out and named in `warnings`. Raises `InvalidConfigError`
    for a directory without a sweep.
    """
    place = locate(directory)
    names = place.all(directory)
    stored = [load_tables(place.objects, name) for name in names]
    wanted = [_wanted(place, one) for one in stored]
    summaries = [summary_of(one) for one in stored]
    tables = {name: stacked(names, [one.tables[name] for one in stored]) for name in TABLES}
    tables["summary"] = stacked(names, summaries)
    asked = {trial for found in wanted for trial in (found or ())}
    known = {name for name, found in zip(names, wanted, strict=True) if found is not None}
    for name in ("trials", "summary"):
        table = tables[name]
        flags = [
            trial in asked if sweep in known else None
            for sweep, trial in zip(
                table["sweep"].to_pylist(), table["trial_id"].to_pylist(), strict=True
            )
        ]
        tables[name] = table.append_column("wanted", pa.array(flags, pa.bool_()))
    warnings = tuple(warning for one in stored for warning in one.warnings)
    return Loaded(**tables, warnings=warnings)


def summary_of(stored: StoredTables) -> pa.Table:
    """One row per trial, readout and split with every metric, and the searched fields as columns,
    named by their dotted paths."""
    trials, evals = stored.tables["trials"], stored.tables["evals"]
    stages = stored.tables["stages"]
    summary = pa.concat_tables([full_summary(trials, evals, stages, split) for split in SPLITS])
    factors = {
        trial["trial_id"]: json.loads(trial["factors"])
        for trial in trials.select(["trial_id", "factors"]).to_pylist()
    }
    of_row = [factors[trial] for trial in summary["trial_id"].to_pylist()]
    for path in dict.fromkeys(path for found in factors.values() for path in found):
        summary = summary.append_column(path, _column([row.get(path) for row in of_row]))
    return summary


def _plain(table: pa.Table) -> pa.Table:
    """The table without dictionaries: categories would make `groupby` count all combinations."""
    fields = [
        f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def _column(values: list[Any]) -> pa.Array:
    """The values with their own type; as JSON text where they are lists or of several types."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {str, bool}):
        return pa.array(values, pa.float64() if kinds == {int, float} else None)
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pa.array(texts, pa.string())


def _wanted(place: Location, stored: StoredTables) -> set[str] | None:
    """Ids of the trials that the stored sweep file asks for, if it can still be resolved."""
    from sweeps.definition import stored_sweep  # pydantic, which only this part needs
    from sweeps.search.stored_observations import current_step

    try:
        found = current_step(stored_sweep(place.objects, stored.sweep), place.objects)
    except InvalidConfigError:
        return None
    return {trial.trial_id for trial in found.trials}
