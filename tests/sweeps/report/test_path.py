"""The path from the baseline to the choice, over a simulated grid and over parts of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sweeps.analysis.effects.axis_effects import searched_points
from sweeps.presentation.text_tables import TOO_FEW
from sweeps.report import ReportInputs, read_report_inputs
from sweeps.report.path import path_section
from sweeps.storage import open_storage
from tests.sweeps.simulated import Simulation, simulate


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Two learning rates, four ranks and five thresholds, in two orders with two seeds."""
    objects = open_storage(str(tmp_path_factory.mktemp("grid")))
    return read_report_inputs(
        simulate(objects, Simulation(rates=2, matrices=False), "chunks"), objects
    )


def only(inputs: ReportInputs, config_ids: Collection[str]) -> ReportInputs:
    """The sweep as if these configurations alone had been run."""
    kept = pc.is_in(inputs.trials["config_id"], value_set=pa.array(sorted(config_ids)))
    return replace(inputs, trials=inputs.trials.filter(kept))


def ends(inputs: ReportInputs) -> tuple[str, str]:
    """The configuration with the first value everywhere, and the choice."""
    points = searched_points(inputs.trials)
    start = {"train.lr": 0.0001, "method.rank": 4, "method.importance_threshold": 0}
    assert inputs.choice.chosen is not None
    end = inputs.choice.chosen.replicates.config_id
    return next(c for c, point in points.items() if point == start), end


def mean(inputs: ReportInputs, config_id: str) -> float:
    (one,) = (r for r in inputs.by_split["validation"] if r.config_id == config_id)
    values = one.metrics["average_accuracy"].values()
    return 100 * sum(values) / len(values)


def test_the_steps_change_one_factor_each_and_add_up(grid: ReportInputs) -> None:
    section = path_section(grid)
    start, end = ends(grid)
    first, second = searched_points(grid.trials)[start], searched_points(grid.trials)[end]
    differing = [path for path in first if first[path] != second[path]]
    accuracy = section.figures[0]
    assert [figure.id for figure in section.figures] == [
        "path-average_accuracy",
        "path-forgetting",
    ]
    names = [row[0] for row in accuracy.table.rows]
    assert names[0] == "start"
    assert names[-1] == "total"
    steps = names[1:-1]
    assert sorted(step.split(":")[0] for step in steps) == sorted(differing)
    for step in steps:
        path, change = step.split(": ")
        assert change == f"{first[path]:g} -> {second[path]:g}"
    differences = [float(row[3]) for row in accuracy.table.rows[1:]]
    assert sum(differences[:-1]) == pytest.approx(differences[-1], abs=0.05 * len(differences))
    assert differences[-1] == pytest.approx(mean(grid, end) - mean(grid, start), abs=0.06)
    assert {row[2] for row in accuracy.table.rows[1:]} == {"4"}  # two orders with two seeds
    assert all(" to " in row[4] or row[4] == TOO_FEW for row in accuracy.table.rows[1:])
    assert any(" to " in row[4] for row in accuracy.table.rows[1:])
    assert f"{len(steps)} steps, all of which were run" in section.lead
    assert "the baseline of every axis" in section.lead
    assert section.tables == ()


def test_what_is_missing_on_the_way_is_named(grid: ReportInputs) -> None:
    section = path_section(only(grid, ends(grid)))
    start, end = ends(grid)
    first, second = searched_points(grid.trials)[start], searched_points(grid.trials)[end]
    differing = {path for path in first if first[path] != second[path]}
    assert len(differing) > 1
    assert section.figures == ()
    ((title, missing),) = section.tables
    assert title == "Missing configurations of the path"
    assert len(missing.rows) == len(differing) - 1
    for change, setting in missing.rows:
        assert change.split(":")[0] in differing
        held = dict(part.split("=") for part in setting.split(", "))
        for path, value in held.items():
            assert value in {str(first[path]), str(second[path])}
    assert f"sweeps path DIR {start[:8]} {end[:8]} -o missing.yaml" in section.notes[0]
    assert "not all of them were run" in section.lead


def test_the_baseline_itself_is_no_path(grid: ReportInputs) -> None:
    start, end = ends(grid)
    values = {c: mean(grid, c) for c in searched_points(grid.trials)}
    worse = min(values, key=values.__getitem__)
    section = path_section(only(grid, {end, worse}))
    assert section.figures or section.tables
    alone = path_section(only(grid, {end}))
    assert "fewer than two configurations" in alone.lead
    itself = path_section(only(grid, {start, worse} if start != worse else {start}))
    assert "No path" in itself.lead


def test_where_the_baseline_was_not_run_the_nearest_to_it_stands_in(grid: ReportInputs) -> None:
    start, _ = ends(grid)
    others = [c for c in searched_points(grid.trials) if c != start]
    section = path_section(only(grid, others))
    assert "the configuration closest to the baseline (equal on 2 of 3 axes)" in section.lead
