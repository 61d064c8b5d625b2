"""Association of task similarity and forgetting: shown if the similarity was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clmethods.config.task_table import TaskTable, table_id
from sweeps.analysis.orders.task_similarity import similarity_association
from sweeps.definition.orders.task_similarity_measurement import known_tables
from sweeps.report import ReportInputs, read_report_inputs
from sweeps.report.orders import orders_section
from sweeps.storage import open_storage
from tests.sweeps.simulated import Simulation, simulate

TASKS = 10


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """20 configurations in two orders with one seed."""
    objects = open_storage(str(tmp_path_factory.mktemp("grid")))
    return read_report_inputs(
        simulate(objects, Simulation(seeds=1, matrices=False), "chunks"), objects
    )


def measured(inputs: ReportInputs) -> ReportInputs:
    """The same sweep with a made-up table of distances."""
    distance = np.abs(np.subtract.outer(np.arange(TASKS), np.arange(TASKS))).astype(float)
    base = inputs.sweep.base
    found = TaskTable(
        of=table_id(base.backbone, base.stream),
        distance=tuple(map(tuple, distance.tolist())),
        error=(0.1,) * TASKS,
        ambiguity=(0.1,) * TASKS,
    )
    orders = replace(inputs.sweep.orders, measured=(found,))
    return replace(inputs, sweep=replace(inputs.sweep, orders=orders))


def test_the_figure_has_the_numbers_of_the_analysis(inputs: ReportInputs) -> None:
    printed = measured(inputs)
    figure = next(f for f in orders_section(printed).figures if f.id == "order-similarity")
    found = similarity_association(
        printed.trials, printed.evals, "last", "validation", known_tables(printed.sweep)
    )
    expected = {
        one.label: f"{one.interval.mean:+.2f}" for one in found if one.interval is not None
    }
    assert {row[0]: row[2] for row in figure.table.rows} == expected
    assert len(expected) == 20
    assert "n = 2 runs" in figure.caption
    traces: Any = figure.spec["data"]
    (trace,) = traces
    drawn = [row[2] for row in figure.table.rows][: len(trace["x"])]
    assert [float(text) for text in drawn] == pytest.approx(trace["x"], abs=0.006)


def test_where_it_was_not_measured_the_page_says_what_measures_it(inputs: ReportInputs) -> None:
    section = orders_section(inputs)
    assert "order-similarity" not in [figure.id for figure in section.figures]
    assert any("the similarity of the tasks was not measured" in note for note in section.notes)
