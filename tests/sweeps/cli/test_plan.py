"""`sweeps plan` says what a run costs, what it can show and what would break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from sweeps.definition import expand, load_sweep
from sweeps.execution.resources.gpu_memory import Device, MemoryUse
from sweeps.execution.resources.gpu_sizing import most_demanding, record_of, save_record
from sweeps.storage import open_for_planning, open_storage


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


def test_a_plan_makes_no_directory_and_knows_the_free_space(
    sweeps_command: Callable[..., Result], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    storage = tmp_path / "not" / "yet"
    found = sweeps_command("plan", sweep_file(), "--storage", storage)
    assert found.exit_code == 0, found.output
    assert not (tmp_path / "not").exists()
    free = open_for_planning(str(storage)).free_bytes()
    assert free is not None
    assert free > 0
    storage.mkdir(parents=True)
    again = sweeps_command("plan", sweep_file(), "--storage", storage)
    assert again.exit_code == 0, again.output
    assert list(storage.iterdir()) == []


def test_a_plan_without_results_says_what_difference_it_can_detect(
    sweeps_command: Callable[..., Result], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    found = sweeps_command("plan", sweep_file(), "--storage", tmp_path / "storage")
    assert found.exit_code == 0, found.output
    said = " ".join(found.output.split())
    assert "power: 2 orders x 2 seeds are too few to show a likely difference; 3 orders x" in said
    orders = {"design": "random", "count": 3}
    file = sweep_file(seeds=[0, 1, 2], orders=orders)
    found = sweeps_command("plan", file, "--storage", tmp_path / "storage")
    assert "3 orders x 3 seeds detect a difference between two" in " ".join(found.output.split())


def planned(
    sweeps_command: Callable[..., Result], file: Path, storage: Path
) -> tuple[str, list[str]]:
    """The words of a plan on one line, and its lines."""
    found = sweeps_command("plan", file, "--storage", storage)
    assert found.exit_code == 0, found.output
    return " ".join(found.output.split()), found.output.splitlines()


def test_a_plan_shows_the_pairs_of_a_spread_design(
    sweeps_command: Callable[..., Result], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    spread = {"kind": "spread", "runs": 4}
    file = sweep_file(orders={"design": "latin_square"}, seeds=[0, 1, 2, 3], replicates=spread)
    said, lines = planned(sweeps_command, file, tmp_path / "storage")
    sweep = load_sweep(file)
    orders = len(sweep.task_orders)
    assert f"replicates: spread, 4 runs of the {4 * orders} pairs of order and seed" in said
    for order, seed in {(t.order_id, t.seed) for t in expand(sweep) if t.role == "search"}:
        (line,) = [line for line in lines if f"order {order}: seed" in line]
        assert str(seed) in line.partition(": ")[2]
    assert f"power: 4 runs with {min(orders, 4)} orders and 4 seeds detect a difference" in said
    assert "stages per configuration and seed" not in said  # no seed is run in all orders
    assert "would use" not in said


def test_a_plan_names_a_spread_design_with_more_orders_for_the_same_runs(
    sweeps_command: Callable[..., Result], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    stream = {"dataset": "digits", "tasks": 5}
    file = sweep_file(stream=stream, orders={"design": "random", "count": 3}, seeds=[0, 1, 2])
    said, _ = planned(sweeps_command, file, tmp_path / "storage")
    assert "`orders: {..., count: 9}`, `seeds: [0, ..., 8]`" in said
    assert "would use 9 orders instead of 3, with the same 9 runs" in said
    better = sweep_file(
        stream=stream,
        orders={"design": "random", "count": 9},
        seeds=[*range(9)],
        replicates={"kind": "spread", "runs": 9},
    )
    assert "would use" not in planned(sweeps_command, better, tmp_path / "storage")[0]
    listed = sweep_file(
        stream=stream,
        orders={"design": "explicit", "list": [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]},
        seeds=[0, 1, 2],
    )
    assert "would use" not in planned(sweeps_command, listed, tmp_path / "storage")[0]


def test_a_plan_says_if_pairs_repeat_too_seldom_for_an_interval(
    sweeps_command: Callable[..., Result], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    file = sweep_file(
        stream={"dataset": "digits", "tasks": 5},
        orders={"design": "latin_square"},
        seeds=[*range(5)],
        replicates={"kind": "spread", "runs": 9},
    )
    said, _ = planned(sweeps_command, file, tmp_path / "storage")
    assert "9 runs with 5 orders and 5 seeds give no interval" in said
    assert "Declare 9 seeds, one for each run" in said


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
    assert "of cases, by the spread of stored results" in found.output
    assert "budget: stages 1:" in found.output
    assert "does not fit" in found.output


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"gpu": 0.25}, ["GPU: 0.25 for each trial: 4 trials at once on one GPU"]),
        ({"gpu": 1, "gpu_type": "L4"}, ["GPU: 1 for each trial: 1 trial at once on", "; type L4"]),
        ({"gpu": 2}, ["GPU: 2 for each trial", "warning: resources.gpu 2: a trial trains on one"]),
        ({"gpu": 0.4}, ["warning: resources.gpu 0.4: 2 trials fit on a GPU, and 0.2 of it stays"]),
        (
            {"gpu": "auto", "gpu_type": ["L4", "T4"]},
            ["GPU: auto: the run measures one stage first", "type L4 or else T4"],
        ),
    ],
)
def test_a_plan_says_how_many_trials_share_a_gpu(
    sweeps_command: Callable[..., Result],
    sweep_file: Callable[..., Path],
    tmp_path: Path,
    resources: dict[str, Any],
    words: list[str],
) -> None:
    file = sweep_file(resources=resources, train={"epochs": 1, "device": "cuda"})
    found = sweeps_command("plan", file, "--storage", tmp_path / "storage")
    assert found.exit_code == 0, found.output
    for word in words:
        assert word in found.output


def test_a_plan_knows_what_was_measured_for_auto(
    sweeps_command: Callable[..., Result], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    fields = {"train": {"epochs": 1, "device": "cuda"}, "budget": {"gpu_hours": 1}}
    file = sweep_file(resources={"gpu": "auto"}, **fields)
    trial = most_demanding(expand(load_sweep(file)))
    device = Device(name="NVIDIA L4", total_bytes=24_000_000_000)
    use = MemoryUse(device=device, peak_bytes=4_000_000_000, context_bytes=500_000_000)
    save_record(open_storage(str(tmp_path / "storage")), trial, record_of(trial, 0, use, "L4"))
    found = sweeps_command("plan", file, "--storage", tmp_path / "storage")
    assert found.exit_code == 0, found.output
    assert "GPU: auto: 0.25. A trial needs 5.3 GB of GPU memory" in found.output
    assert "4 trials run on a GPU, as measured before" in found.output
    assert "cannot be judged, as resources.gpu is auto" in found.output
