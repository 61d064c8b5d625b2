"""The commands that read a storage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from click.testing import Result

from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.sealed import sealed, sha256, unsealed
from sweeps.results import TABLES
from sweeps.storage import open_storage

Command = Callable[..., Result]


def test_status_counts_trials_and_stages(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("status", finished, "--trials")
    assert result.exit_code == 0
    assert "14 trials of 4 configurations" in result.output
    assert "14 finished, 0 failed" in result.output
    assert "0 to train" in result.output
    assert result.output.count("finished") >= 14


def test_plan_sees_what_is_there_and_what_a_new_value_adds(
    sweeps_command: Command, sweep_file: Callable[..., Path], finished: Path
) -> None:
    same = sweeps_command("plan", sweep_file(), "--storage", finished)
    assert "0 to train" in same.output
    grown = sweep_file(search={"method.importance_threshold": [0, 0.2, 0.5]})
    more = sweeps_command("plan", grown, "--storage", finished)
    # 2 seeds x (stage 1 is shared; stage 2 is shared by both orders; three stages for each order)
    assert "14 to train" in more.output


def test_pareto_shows_the_front_with_intervals(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("pareto", finished)
    assert result.exit_code == 0
    assert "±" in result.output
    assert "front: by the validation means" in result.output
    assert "joint_lora" in result.output
    starred = [line for line in result.output.splitlines() if line.strip().startswith("*")]
    assert starred
    assert not any("joint_lora" in line for line in starred)


def test_batch_wise_figures_are_marked_wherever_they_are_shown(
    sweeps_command: Command, finished: Path
) -> None:
    name = "batch-cosine-b4-tap-e1"
    for command in ("pareto", "orders"):
        result = sweeps_command(command, finished, "--readout", name)
        assert result.exit_code == 0, result.output
        assert f"`{name}`: batch-wise" in result.output
        assert "leaks the task" in result.output
        assert "batch-wise" not in sweeps_command(command, finished).output
    beside = sweeps_command("pareto", finished, "--readout", name).output
    assert "nearest_class_mean (baseline, last)" in beside
    assert "nearest_class_mean (baseline)" in sweeps_command("pareto", finished).output


def test_orders_compares_with_the_seeds(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("orders", finished)
    assert result.exit_code == 0
    assert "aopd" in result.output


def test_why_names_the_stage_and_the_field(sweeps_command: Command, finished: Path) -> None:
    listing = sweeps_command("status", finished, "--trials").output
    rows = [line.split() for line in listing.splitlines() if "threshold=" in line]
    first = next(row[0] for row in rows if "importance_threshold=0" in row)
    second = next(row[0] for row in rows if "importance_threshold=0.2" in row)
    result = sweeps_command("why", finished, first, second[:8])
    assert "share 1 stages and part at stage 2" in result.output
    assert "method.newly_frozen: 0 | 2" in result.output


def test_verify_finds_equal_bits(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("verify", finished, "--sample", 3)
    assert result.exit_code == 0, result.output
    assert "3 of 3 stages have the same bits" in result.output


def test_verify_names_what_differs(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "copy"
    shutil.copytree(finished, storage)
    objects = open_storage(str(storage))
    for name in [name for name in objects.list("stages") if name.endswith("/stage.json")]:
        folder = name.removesuffix("/stage.json")
        marker = unsealed(objects.get(name))
        state = state_from_bytes(objects.get(f"{folder}/{marker['state']}"))
        planted = next(tensor for key, tensor in state.items() if tensor.is_floating_point())
        planted.view(-1)[0] += 1.0
        data = state_to_bytes(state)
        marker["state"] = f"state-{sha256(data)}.safetensors"
        objects.put(f"{folder}/{marker['state']}", data)
        objects.put(name, sealed(marker))
    result = sweeps_command("verify", storage, "--sample", 4)
    assert result.exit_code == 1
    assert result.output.count("differs") == 4
    assert "head." in result.output or "lora." in result.output or "mean." in result.output


def test_verify_reports_a_truncated_state(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "copy"
    shutil.copytree(finished, storage)
    for state in storage.glob("stages/*/*/state-*.safetensors"):
        state.write_bytes(state.read_bytes()[:-8])
    result = sweeps_command("verify", storage, "--sample", 1)
    assert result.exit_code == 1
    assert "does not have its checksum" in result.output
    assert "damaged" in result.output


def test_export_writes_every_table_and_its_schema(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    result = sweeps_command("export", finished, "--to", tmp_path / "out")
    assert result.exit_code == 0
    for name, schema in TABLES.items():
        table = pq.read_table(tmp_path / "out" / f"{name}.parquet")
        assert table.num_rows > 0
        assert table.schema.names == schema.arrow.names
    assert "stage_key" in (tmp_path / "out" / "SCHEMA.md").read_text(encoding="utf-8")
