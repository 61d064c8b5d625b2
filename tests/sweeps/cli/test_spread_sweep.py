"""Commands that read a finished sweep with a spread design, trained without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from sweeps.definition import expand, load_sweep, sweep_from_dict
from sweeps.storage import open_storage
from tests.sweeps.run_files import finish

Command = Callable[..., Result]

DOCUMENT = {
    "name": "spread",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 3, "limit": 6},
    "method": {"kind": "lorac_ipc", "rank": 2, "lora_alpha": 2},
    "train": {"epochs": 1, "batch_size": 16},
    "search": {"method.importance_threshold": [0, 0.2, 0.4]},
    "orders": {"design": "random", "count": 4},
    "seeds": [0, 1, 2, 3],
    "replicates": {"kind": "spread", "runs": 4},
    "baselines": [{"method": {"kind": "nearest_class_mean"}}],
}


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage; tests must not change it."""
    storage = tmp_path_factory.mktemp("spread")
    finish(sweep_from_dict(DOCUMENT), open_storage(str(storage)))
    return storage


def test_a_selection_has_intervals_over_different_orders_and_seeds(
    sweeps_command: Command, spread: Path
) -> None:
    result = sweeps_command("select", spread, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["common_runs"] == 4
    accuracy = found["chosen"]["validation"]["average_accuracy"]
    assert accuracy["design"] == "4 runs, each with a different order and seed"
    assert 0.0 <= accuracy["low"] <= accuracy["mean"] <= accuracy["high"] <= 1.0
    card = sweeps_command("select", spread).output
    assert "orders x 4 seeds can detect" not in card  # the runs are no grid
    assert "4 runs can detect a difference of" in card or "significant" in card


def test_the_sources_that_the_runs_do_not_separate_are_named(
    sweeps_command: Command, spread: Path
) -> None:
    result = sweeps_command("orders", spread)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "order cannot be separated from seed" in said or "nothing varies" in said


@pytest.mark.parametrize("command", ["pareto", "effects", "matrices", "status", "verify"])
def test_every_reader_ends_well(sweeps_command: Command, spread: Path, command: str) -> None:
    if command == "verify":
        result = sweeps_command("verify", spread, "--sample", "1")
    else:
        result = sweeps_command(command, spread)
    assert result.exit_code == 0, result.output


def test_the_report_states_the_number_of_pairs(
    sweeps_command: Command, spread: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    result = sweeps_command("report", spread, "-o", page)
    assert result.exit_code == 0, result.output
    assert "4 x 4, 4 of the pairs" in page.read_text(encoding="utf-8")


def test_a_plan_of_the_finished_sweep_has_nothing_left(
    sweeps_command: Command, spread: Path, tmp_path: Path
) -> None:
    file = tmp_path / "spread.yaml"
    file.write_text(yaml.safe_dump(DOCUMENT), encoding="utf-8")
    assert len(expand(load_sweep(file))) == 4 * 4
    result = sweeps_command("plan", file, "--storage", spread)
    assert result.exit_code == 0, result.output
    assert "nothing is left to train" in result.output
    assert "power: 4 runs with 4 orders and 4 seeds detect" in " ".join(result.output.split())
