"""`sweeps plan` says what a run costs, what it can show and what would break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from click.testing import Result


def test_a_study_without_its_files_is_planned(
    sweeps_command: Callable[..., Result], tmp_path: Path
) -> None:
    found = sweeps_command("plan", "cifar100_importance", "--storage", tmp_path / "storage")
    assert found.exit_code == 0, found.output
    for words in (
        "63 trials of 21 configurations",
        "574 distinct stages (630 without sharing)",
        "would break",
        "backbone.weights",
        "stream.root",
        "cost: unknown",
        "memory: at most 72.9 MB of adapters",
        "4.13 GB for 574 stages",
    ):
        assert words in found.output


def test_a_run_without_its_data_is_refused_before_anything(
    sweeps_command: Callable[..., Result], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    file = sweep_file(stream={"dataset": "cifar100", "root": str(tmp_path / "nowhere")}, orders={})
    found = sweeps_command("run", file, "--storage", tmp_path / "storage")
    assert found.exit_code == 2
    assert "stream.root" in found.output
    assert not (tmp_path / "storage").exists()


def test_a_plan_of_a_stored_sweep_knows_cost_power_and_budget(
    sweeps_command: Callable[..., Result],
    sweep_file: Callable[..., Path],
    finished: Path,
) -> None:
    file = sweep_file(seeds=[0, 1, 2], budget={"stages": 1})
    assert yaml.safe_load(file.read_text())["budget"] == {"stages": 1}
    found = sweeps_command("plan", file, "--storage", finished)
    assert found.exit_code == 0, found.output
    assert "measured ones" in found.output
    assert "points, by the spread of stored results" in found.output
    assert "budget: stages 1:" in found.output
    assert "does not fit" in found.output
