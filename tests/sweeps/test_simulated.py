"""Simulated sweeps are real ones to whoever reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

import sweeps
from sweeps.definition import expand
from sweeps.results import TABLES, read_table
from sweeps.storage import open_storage
from tests.sweeps.simulated import Simulation, Truth, simulate

SMALL = Simulation(
    orders={"design": "random", "count": 2},
    seeds=1,
    images=1000,
    truth=Truth(position=0.1),
    readouts=({"routing": "last"}, {"routing": "instance"}),
)


def test_a_simulated_sweep_loads_whole_and_shows_what_was_planted(tmp_path: Path) -> None:
    sweep = simulate(open_storage(str(tmp_path)), SMALL, "chunks")
    found = sweeps.load(str(tmp_path))
    trials = expand(sweep)
    assert found.warnings == ()
    assert set(found.trials["trial_id"].to_pylist()) == {t.trial_id for t in trials}
    assert found.summary["wanted"].unique().to_pylist() == [True]
    assert found.summary["reason"].null_count == len(found.summary) == 4 * len(trials)
    accuracy = found.summary["average_accuracy"].to_numpy()
    assert accuracy.mean() == pytest.approx(SMALL.truth.mean, abs=0.1)
    assert 0.02 < accuracy.std() < 0.12


def test_both_layouts_hold_the_same_rows(tmp_path: Path) -> None:
    one, two = (open_storage(str(tmp_path / name)) for name in ("parts", "chunks"))
    simulation = Simulation(orders={"design": "identity"}, seeds=1, matrices=False)
    simulate(one, simulation, "parts")
    simulate(two, simulation, "chunks")
    for name, schema in TABLES.items():
        parts, chunks = (read_table(store, "simulated", name).table for store in (one, two))
        keys = [(key, "ascending") for key in schema.key]
        assert parts.sort_by(keys).equals(chunks.sort_by(keys))
