"""Simulated sweeps whose rules were obeyed: what they left out is not in the tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sweeps.definition import Sweep
from sweeps.report import ReportInputs, report_inputs_of
from sweeps.results import TABLES, read_table
from sweeps.search.controller import next_step
from sweeps.search.observations import Observation, objectives_of
from sweeps.search.search_state import Request, Step
from sweeps.storage import open_storage
from tests.sweeps.simulated import Simulation, simulate


def ruled(folder: Path, simulation: Simulation, steps: int | None = None) -> ReportInputs:
    """Return the results at the end of a search, or after its first `steps` steps.

    All runs are simulated to their end. Then the rules are replayed over them, and stages that
    were not requested are removed from the tables, as if they had never been trained.
    """
    objects = open_storage(str(folder))
    sweep = simulate(objects, simulation, "chunks")
    tables = {name: read_table(objects, sweep.name, name).table for name in TABLES}
    step = next_step(sweep, observed(sweep, tables))
    if steps is not None:
        step = _broken_off(sweep, tables, steps)
    return report_inputs_of(sweep, as_asked(tables, step), step=step)


def observed(sweep: Sweep, tables: dict[str, pa.Table]) -> Callable[[Request], Observation]:
    """Return a function that computes the observation of a run from the simulated counts."""
    of_stage: dict[str, list[dict[str, object]]] = {}
    for row in (
        tables["evals"].filter(pc.equal(tables["evals"]["split"], "validation")).to_pylist()
    ):
        of_stage.setdefault(row["stage_key"], []).append(row)

    def look(request: Request) -> Observation:
        order = request.trial.run.stream.order
        rows = [of_stage[stage.key] for stage in request.trial.chain[: request.stages]]
        return Observation(
            values=tuple(
                objectives_of(rows[: t + 1], order[: t + 1], list(sweep.objectives))
                for t in range(len(rows))
            )
        )

    return look


def _broken_off(sweep: Sweep, tables: dict[str, pa.Table], steps: int) -> Step:
    """The replay in which nothing is known of what later steps ask for."""
    look, known = observed(sweep, tables), set[tuple[str, int]]()

    def seen(request: Request) -> Observation | None:
        there = (request.trial.trial_id, request.stages) in known
        return look(request) if there else None

    step = next_step(sweep, seen)
    for _ in range(steps):
        known.update((r.trial.trial_id, r.stages) for r in step.requests)
        step = next_step(sweep, seen)
    return step


def as_asked(tables: dict[str, pa.Table], step: Step) -> dict[str, pa.Table]:
    """The tables of a sweep that trained what the step had asked for before it, and no more."""
    done = {r.trial.trial_id: r for r in step.requests if r.trial.trial_id not in step.open}
    rows = [row for row in tables["trials"].to_pylist() if row["trial_id"] in done]
    for row in rows:
        if row["trial_id"] in step.stopped:
            row |= {"status": "stopped", "stages_done": done[row["trial_id"]].stages}
    kept = {key for row in rows for key in row["stage_keys"][: row["stages_done"]]}
    keys = pa.array(sorted(kept), pa.string())
    return {
        "trials": pa.Table.from_pylist(rows, schema=tables["trials"].schema),
        **{
            name: tables[name].filter(pc.is_in(tables[name]["stage_key"], value_set=keys))
            for name in ("evals", "stages", "matrices")
        },
    }
