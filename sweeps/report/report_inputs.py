"""Data of a report, read from the storage and computed once for all sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeps.analysis.front.pareto_row import FrontRow
from sweeps.analysis.front.pareto_table import front_rows
from sweeps.analysis.matrices.matrix_history import MatrixRuns, matrix_runs
from sweeps.analysis.orders.order_effect import OrderSensitivity, order_sensitivity
from sweeps.analysis.trials.accuracy import Matrix, task_counts
from sweeps.analysis.trials.metric_choice import (
    Results,
    all_orders,
    chosen_metric,
    chosen_readout,
    summaries,
)
from sweeps.analysis.trials.paired_differences import configurations
from sweeps.analysis.trials.replicates import Replicates, replicates
from sweeps.presentation.selection_request import (
    SelectionAnswer,
    SelectionRequest,
    select_from_summaries,
)
from sweeps.results import TABLES, read_tables
from sweeps.results.events import read_event_log
from sweeps.results.history import History, history_of
from sweeps.search.controller import next_step
from sweeps.search.requested_results import requested_trials
from sweeps.search.search_state import Decision, Step
from sweeps.search.stored_observations import read_step

if TYPE_CHECKING:
    from sweeps.analysis.selection.selection import Selection
    from sweeps.definition import Sweep
    from sweeps.storage import ObjectStore


@final
@dataclass(frozen=True)
class ReportInputs:
    """Result tables of one sweep, and analyses that several sections use."""

    sweep: Sweep
    requested: int
    """Number of trials that the sweep requests."""
    configurations: int
    """Number of configurations of these trials; a model proposes them one batch after another."""
    trials: pa.Table
    """Last attempts of the trials that the sweep currently requests."""
    evals: pa.Table
    stages: pa.Table
    matrices: pa.Table
    warnings: tuple[str, ...]
    """One sentence per file that could not be read, and one about missing runs."""
    left_out: tuple[str, ...]
    """Keys of the files that were left out and whose rows may be missing."""
    history: History
    """Runs of the driver, nodes and losses, from the event log."""
    decisions: tuple[Decision, ...]
    """Decisions of rungs and racing about configurations so far."""
    readout: str
    """Readout that the sections on orders and effects and the summary use."""

    @property
    def metric(self) -> str:
        """Return the metric by which task orders are compared."""
        return chosen_metric(self.sweep, None)

    @property
    def fixed_orders(self) -> bool:
        """Return True if the sweep contains every possible task order."""
        return all_orders(self.sweep)

    @property
    def finished(self) -> int:
        """Return the number of successfully finished trials."""
        return int(pc.sum(pc.equal(self.trials["status"], "finished")).as_py() or 0)

    @cached_property
    def summaries(self) -> dict[str, pa.Table]:
        """Return the metrics of every run, by split."""
        return summaries(Results(self.trials, self.evals, ()))

    @cached_property
    def readouts(self) -> tuple[str, ...]:
        """Return the declared readouts that finished runs have; the report's readout is first."""
        present = set(pc.unique(self.summaries["test"]["readout_id"]).to_pylist())
        declared = [r.readout_id for r in self.sweep.readouts if r.readout_id in present]
        return tuple(dict.fromkeys([self.readout, *declared]))

    @cached_property
    def fronts(self) -> dict[str, list[FrontRow]]:
        """Return the rows of `front_rows`, by readout."""
        return {name: front_rows(self.sweep, self.summaries, name) for name in self.readouts}

    @cached_property
    def replicates(self) -> list[Replicates]:
        """Return the replicates of every configuration with the report's readout on validation."""
        names = list(dict.fromkeys([*self.sweep.objectives, self.metric]))
        every = replicates(self.summaries["validation"], names)
        return configurations(every, self.readout, "validation")

    @cached_property
    def disparities(self) -> list[OrderSensitivity]:
        """Return the rows of `order_sensitivity` on validation images."""
        rows: list[OrderSensitivity] = order_sensitivity(
            self.trials, self.evals, self.readout, "validation", self.metric
        ).to_pylist()
        return rows

    @cached_property
    def maps(self) -> list[MatrixRuns]:
        """Return the matrix statistics of the finished runs, in the order of the front rows."""
        if len(self.matrices) == 0:
            return []
        place = {row.config_id: k for k, row in enumerate(self.fronts[self.readout])}
        runs = matrix_runs(self.trials, self.matrices)
        return sorted(runs, key=lambda matrix: place.get(matrix.config_id, len(place)))

    @cached_property
    def by_split(self) -> dict[str, list[Replicates]]:
        """Return the replicates with every readout, by split."""
        names = list(self.sweep.objectives)
        return {split: replicates(table, names) for split, table in self.summaries.items()}

    @cached_property
    def selection(self) -> SelectionAnswer:
        """Return the selection of `sweeps select` without options."""
        return select_from_summaries(self.sweep, self.summaries, SelectionRequest())

    @property
    def choice(self) -> Selection:
        """Return the choice of `sweeps select` without options."""
        return self.selection.choice

    @cached_property
    def best(self) -> str | None:
        """Return the config_id of the choice, or of the first front row if there is no choice."""
        if self.choice.chosen is not None:
            return self.choice.chosen.replicates.config_id
        rows = self.fronts[self.readout]
        return rows[0].config_id if rows else None

    @cached_property
    def accuracies(self) -> dict[tuple[str, str, str], tuple[Matrix, int]]:
        """Return (mean accuracy matrix, number of runs) by (config_id, readout, split).

        Matrices have shape (stages, tasks). Columns are in the order of learning, so after the
        mean over orders and seeds, column j is the task at position j.
        """
        sums: dict[tuple[str, str, str], tuple[Matrix, int]] = {}
        trials = {trial["trial_id"]: trial for trial in self.trials.to_pylist()}
        for split, summary in self.summaries.items():
            counts = task_counts(self.evals, split)
            for row in summary.select(["trial_id", "readout_id", "reason"]).to_pylist():
                if row["reason"] is not None:
                    continue
                trial, readout = trials[row["trial_id"]], row["readout_id"]
                chain, order = trial["stage_keys"], trial["task_order"]
                matrix = counts.of(chain, trial["partition_id"], readout, order).accuracy
                key = (trial["config_id"], readout, split)
                total, n = sums.get(key, (np.zeros_like(matrix), 0))
                sums[key] = (total + matrix, n + 1)
        return {key: (total / n, n) for key, (total, n) in sums.items()}


def report_inputs_of(
    sweep: Sweep,
    tables: Mapping[str, pa.Table],
    *,
    step: Step | None = None,
    readout: str | None = None,
    warnings: Sequence[str] = (),
    left_out: Sequence[str] = (),
    history: History | None = None,
) -> ReportInputs:
    """Return the report data for the four tables of `sweeps.results`, by name.

    `step`: current step of the search; None: the first step, before any result is known. Raises
    `InvalidConfigError` for a readout that the sweep does not declare.
    """
    step = step or next_step(sweep, lambda request: None)
    trials, requested, gaps = requested_trials(step, tables["trials"])
    return ReportInputs(
        sweep=sweep,
        requested=requested,
        configurations=len({trial.config_id for trial in step.trials}),
        trials=trials,
        evals=tables["evals"],
        stages=tables["stages"],
        matrices=tables["matrices"],
        warnings=(*warnings, *gaps),
        left_out=tuple(left_out),
        history=history or history_of(()),
        decisions=step.decisions,
        readout=chosen_readout(sweep, readout),
    )


def read_report_inputs(
    sweep: Sweep, objects: ObjectStore, readout: str | None = None
) -> ReportInputs:
    """Read the report data from a storage; unreadable parts are left out, with a warning."""
    reads = read_tables(objects, sweep.name, list(TABLES), encoded=True)
    step, unread = read_step(sweep, objects)
    log = read_event_log(objects, sweep.name)
    damaged = {**unread, **log.left_out}
    warnings = [warning for read in reads.values() for warning in read.warnings]
    left_out = [key for read in reads.values() for key in read.damaged]
    return report_inputs_of(
        sweep,
        {name: read.table for name, read in reads.items()},
        step=step,
        readout=readout,
        warnings=list(dict.fromkeys([*warnings, *damaged.values()])),
        left_out=list(dict.fromkeys([*left_out, *damaged])),
        history=history_of(log.events),
    )
