"""The attainment curves of a simulated grid bound what its runs reach, run by run."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.compute as pc
import pytest

from sweeps.report import ReportInputs, read_report_inputs, render
from sweeps.report.attained import attained_figures
from sweeps.report.page_model import Figure
from sweeps.storage import open_storage
from tests.sweeps.report.pages import Page
from tests.sweeps.simulated import Simulation, simulate

SMALL = Simulation(matrices=False, readouts=({"routing": "last"}, {"routing": "instance"}))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """20 configurations in two orders with two seeds, under two readouts."""
    objects = open_storage(str(tmp_path_factory.mktemp("grid")))
    return read_report_inputs(simulate(objects, SMALL, "chunks"), objects)


@pytest.fixture(scope="module")
def figures(grid: ReportInputs) -> list[Figure]:
    return list(attained_figures(grid, []))


def cells_reaching(inputs: ReportInputs, readout: str, accuracy: float, forgetting: float) -> int:
    """In how many (order, seed) cells a configuration is at least that good, in percent."""
    cells = set()
    for one in inputs.by_split["validation"]:
        if one.readout_id == readout:
            cells |= {
                cell
                for cell, value in one.metrics["average_accuracy"].items()
                if round(100 * value, 6) >= accuracy
                and round(100 * one.metrics["forgetting"][cell], 6) <= forgetting
            }
    return len(cells)


@pytest.mark.parametrize("index", [0, 1])
def test_a_curve_is_reached_in_as_many_runs_as_it_says_and_no_further(
    grid: ReportInputs, figures: list[Figure], index: int
) -> None:
    curves = [trace for trace in figures[index].spec["data"] if "marker" in trace]
    names = ["best (1 of 4)", "median (2 of 4)", "worst (all 4)"]
    assert [trace["name"] for trace in curves] == names
    for trace, least in zip(curves, (1, 2, 4), strict=True):
        assert len(trace["x"]) > 0
        for forgetting, accuracy in zip(trace["x"], trace["y"], strict=True):
            at = cells_reaching(grid, grid.readouts[index], accuracy - 0.006, forgetting + 0.006)
            assert at >= least  # the page rounds to hundredths
            for up, down in ((0.02, 0.0), (0.0, 0.02)):
                beyond = (accuracy + up, forgetting - down)
                assert cells_reaching(grid, grid.readouts[index], *beyond) < least


def test_the_table_has_every_corner_with_its_curve(figures: list[Figure]) -> None:
    for figure in figures:
        curves = [trace for trace in figure.spec["data"] if "marker" in trace]
        corners = {
            (trace["name"], f"{y:.1f}", f"{x:.1f}")
            for trace in curves
            for x, y in zip(trace["x"], trace["y"], strict=True)
        }
        rows = {tuple(row) for row in figure.table.rows}
        assert len(rows) > 0.9 * len(corners)  # some are equal when they are rounded
        assert {row[0] for row in rows} == {trace["name"] for trace in curves}
        heads = [column.title for column in figure.table.columns]
        assert heads == ["fronts", "average accuracy / %", "forgetting / %"]


def test_every_readout_has_curves_of_its_own(figures: list[Figure], grid: ReportInputs) -> None:
    assert [figure.readout for figure in figures] == ["last", "instance-cosine"]
    page = Page(render(grid))
    assert "n = 4 fronts" in page.sections["front"]
    assert len(page.tables["attained-1"]) > 3
    tips = {held["data-tip"] for _, held in page.tags if "data-tip" in held}
    assert any(text and "empirical attainment function" in text for text in tips)


def test_curves_need_two_objectives_and_two_runs_and_say_so(grid: ReportInputs) -> None:
    notes: list[str] = []
    alone = replace(grid, sweep=replace(grid.sweep, objectives={"average_accuracy": "max"}))
    assert list(attained_figures(alone, notes)) == []
    assert notes == [
        "Attainment curves need two objectives, and this sweep has 1: average accuracy."
    ]
    trials = grid.trials
    first = trials["order_id"][0].as_py()
    one = pc.and_(pc.equal(trials["order_id"], first), pc.equal(trials["seed"], 0))
    assert list(attained_figures(replace(grid, trials=trials.filter(one)), notes)) == []
    assert "Fewer than two combinations have a run" in notes[-1]


def test_two_runs_have_no_median_of_their_own(grid: ReportInputs) -> None:
    seeds = grid.trials.filter(pc.equal(grid.trials["seed"], 0))
    figure = next(attained_figures(replace(grid, trials=seeds), []))
    names = [trace["name"] for trace in figure.spec["data"] if "marker" in trace]
    assert names == ["best and median (1 of 2)", "worst (all 2)"]
