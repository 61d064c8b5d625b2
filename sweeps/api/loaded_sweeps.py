"""`sweeps.load("runs/demo")`: tables and analyses of the sweeps of a storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import pyarrow as pa

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from sweeps.analysis.trials.configuration_table import configuration_table
from sweeps.analysis.trials.factor_columns import with_factor_columns
from sweeps.analysis.trials.reference_metrics import full_summary
from sweeps.api.analyzed_sweep import AnalyzedSweep
from sweeps.api.data_frames import frame_of_table
from sweeps.api.sweep_analyses import SweepAnalyses
from sweeps.results.load import StoredTables, SweepLocation, load_tables, locate, stack_tables
from sweeps.results.query import query
from sweeps.results.schema import TABLES

if TYPE_CHECKING:
    from sweeps.analysis.trials.metric_choice import Results
    from sweeps.definition.sweep import Sweep

SPLITS = ("validation", "test")


@final
@dataclass(frozen=True, slots=True)
class LoadedSweeps(SweepAnalyses):
    """Result tables as Arrow tables, each with `sweep` as its first column, and the analyses.

    The analyses (`configurations`, `front`, `orders`, `effects`, `interactions`, `select`) are
    those of `SweepAnalyses`, which documents arguments and columns. They belong to one sweep:
    with several, `loaded["NAME"]` is the `AnalyzedSweep` of one of them.

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
    analyzed: Mapping[str, AnalyzedSweep] = field(default_factory=dict)
    """Analyses by name of the sweep; a sweep whose file cannot be resolved has none."""
    unresolved: Mapping[str, InvalidConfigError] = field(default_factory=dict)
    """Reasons why sweeps have no analyses, by name."""

    @property
    def names(self) -> list[str]:
        """Names of the sweeps."""
        return sorted([*self.analyzed, *self.unresolved])

    def __getitem__(self, name: str) -> AnalyzedSweep:
        """Return the analyses of one sweep.

        Raises:
            InvalidConfigError: If there is no such sweep, or if its file cannot be resolved.
        """
        if name in self.unresolved:
            raise self.unresolved[name]
        if name not in self.analyzed:
            hint = nearest(name, self.names)
            raise InvalidConfigError([ConfigIssue("sweep", name, f"one of {self.names}", hint)])
        return self.analyzed[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names of the sweeps."""
        return iter(self.names)

    def __len__(self) -> int:
        """Return the number of sweeps."""
        return len(self.names)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {len(table):,}" for name, table in self.tables.items())
        lines = [repr(each) for each in self.analyzed.values()]
        lines += [f"sweep {name!r}: its file cannot be resolved" for name in self.unresolved]
        lines.append(f"tables (rows): {rows}; .query(SQL) and .pandas()")
        if self.warnings:
            lines.append(f"{len(self.warnings)} parts were left out, see .warnings")
        return "\n".join(lines)

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The six tables by name; `configurations` has the means of `sweeps pareto`."""
        tables = {name: getattr(self, name) for name in (*TABLES, "summary")}
        return tables | {"configurations": configuration_table(self.summary)}

    def query(self, sql: str) -> pa.Table:
        """Return the result of one SQL statement over the six tables.

        Raises:
            QueryError: If the statement is invalid.
        """
        return query(self.tables, sql)

    def pandas(self) -> dict[str, Any]:
        """Return the six tables as pandas data frames by name, without categorical columns.

        Raises:
            ImportError: If pandas is not installed: `pip install pandas`.
        """
        return {name: frame_of_table(table) for name, table in self.tables.items()}

    def _source(self) -> tuple[Sweep, Results]:
        """Return the only sweep and its results.

        Raises:
            InvalidConfigError: If there are several sweeps, or the only one cannot be resolved.
        """
        if len(self.names) != 1:
            constraint = "one sweep: choose it by loaded[NAME], or load STORAGE/sweeps/NAME"
            raise InvalidConfigError([ConfigIssue("sweep", self.names, constraint)])
        only = self[self.names[0]]
        return only.definition, only.results


def load(directory: str) -> LoadedSweeps:
    """Return the tables of the sweep at STORAGE/sweeps/NAME, or of all sweeps of a storage.

    Example::

        tables = sweeps.load("runs/demo")
        tables.front()[["label", "test.average_accuracy", "p_front"]]
        tables.select(max={"forgetting": 0.05})
        rows = tables.configurations()
        rows[(rows["readout_id"] == "last") & (rows["split"] == "test")]
        tables.query(
            "SELECT label, forgetting FROM configurations "
            "WHERE readout_id = 'last' AND split = 'test'"
        )

    Parts that cannot be read are left out and listed in `warnings`.

    Raises:
        InvalidConfigError: If the directory contains no sweep.
    """
    from sweeps.definition import ChangedSweepFileError  # pydantic, which only this part needs

    place = locate(directory)
    names = place.all(directory)
    stored = [load_tables(place.objects, name) for name in names]
    analyzed: dict[str, AnalyzedSweep] = {}
    unresolved: dict[str, InvalidConfigError] = {}
    requested: list[set[str] | None] = []
    unread: dict[str, str] = {}
    for tables_of_sweep in stored:
        try:
            found, ids = _analyzed(place, tables_of_sweep, unread)
        except InvalidConfigError as error:
            if isinstance(error, ChangedSweepFileError):
                raise
            unresolved[tables_of_sweep.sweep] = error
            requested.append(None)
        else:
            analyzed[tables_of_sweep.sweep] = found
            requested.append(ids)
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
        **tables,
        warnings=(*warnings, *unread.values()),
        damaged=(*damaged, *unread),
        analyzed=analyzed,
        unresolved=unresolved,
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


def _analyzed(
    place: SweepLocation, stored: StoredTables, unread: dict[str, str]
) -> tuple[AnalyzedSweep, set[str]]:
    """Return the analyses of a sweep and the ids of its requested trials.

    Adds to `unread` a sentence for each damaged object without which they were determined. Raises
    `InvalidConfigError` if the sweep file can no longer be resolved.
    """
    from sweeps.definition import stored_sweep
    from sweeps.search.requested_results import requested_results
    from sweeps.search.stored_observations import read_step

    sweep = stored_sweep(place.objects, stored.sweep)
    step, left_out = read_step(sweep, place.objects)
    unread.update(left_out)
    results = requested_results(
        step,
        stored.tables["trials"],
        stored.tables["evals"],
        (*stored.warnings, *left_out.values()),
        (*stored.damaged, *left_out),
    )
    return AnalyzedSweep(sweep, results), {trial.trial_id for trial in step.trials}
