"""Reports of large sweeps stay small and quick, and hold what was simulated."""

from __future__ import annotations

import time

import pytest

from sweeps.report import render, report_inputs_of
from sweeps.report.effects import effects_section
from tests.sweeps.report.pages import data_of
from tests.sweeps.report.simulated import simulated, simulated_sweep, simulated_tables


def test_a_simulated_sweep_has_all_its_configurations() -> None:
    inputs = simulated(12, orders=2, seeds=2, tasks=5)
    explorer = data_of(render(inputs))["explorer"]
    assert len(explorer["views"][0]["rows"]) == 13
    assert [axis["path"] for axis in explorer["axes"]] == [
        "method.rank",
        "method.ortho_lambda",
        "train.lr",
    ]


def test_pairs_agree_on_every_axis_also_on_those_of_many_values() -> None:
    """In a random search of continuous axes no two configurations differ in the rank alone."""
    section = effects_section(simulated(12, orders=2, seeds=2, tasks=5))
    assert "no two configurations differ in them alone" in " ".join(section.notes)
    assert {figure.id for figure in section.figures} == {
        "importance-average_accuracy",
        "importance-forgetting",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("configurations", "orders", "seeds"), [(499, 5, 2), (4999, 1, 1)], ids=["crossed", "single"]
)
def test_five_thousand_runs(configurations: int, orders: int, seeds: int) -> None:
    sweep = simulated_sweep(configurations, orders, seeds)
    tables = simulated_tables(sweep)
    assert tables["trials"].num_rows >= 5000
    started = time.process_time()
    page = render(report_inputs_of(sweep, tables))
    assert time.process_time() - started < 60
    assert len(page.encode()) < 10e6
