"""The commands that read a storage."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

import sweeps
from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.checksummed_json import add_checksum, sha256, verify_checksum
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.text.front_table import front_document
from sweeps.presentation import text_tables
from sweeps.results import TABLES
from sweeps.search.requested_results import read_results
from sweeps.storage import open_storage

Command = Callable[..., Result]


def test_status_counts_trials_and_stages(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("status", finished, "--trials")
    assert result.exit_code == 0
    assert "14 in 4 configurations: 14 finished, 0 failed" in result.output
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


def test_plan_says_which_settings_were_left_out_or_merged_and_why(
    sweeps_command: Command, sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    search = {
        "method.ortho_mode": ["none", "gram"],
        "method.ortho_lambda": [0.1, 0.5, 1],
        "method.importance_threshold": [0.17, 0.24],
    }
    where = ["method.ortho_mode == 'none' or method.ortho_lambda < 1"]
    file = sweep_file(search=search, where=where, baselines=[], seeds=[0])
    output = sweeps_command("plan", file, "--storage", tmp_path / "empty").output
    assert "2 settings are excluded by `where`" in output
    assert "7 settings have the same effect as others and are merged with them" in output
    idle = (
        "importance_threshold=0.17 ortho_mode=none: 6 settings have the same effect, because it "
        "does not depend on method.ortho_lambda"
    )
    assert idle in output
    assert "6 trials of 3 configurations" in output
    assert "2 settings have the same effect, also with method.importance_threshold=0.24" in output


def test_plan_says_what_the_orders_balance_and_cost(
    sweeps_command: Command, sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    orders = {"design": "latin_square", "fixed": [4, 0]}
    output = sweeps_command("plan", sweep_file(orders=orders), "--storage", tmp_path).output
    assert "  orders: latin_square. Positions: each task once at each position" in output
    assert "    the first 2 tasks are the same in every order" in output
    assert "    each task occurs at most 3 times at each position, and at most 3 times" in output
    # 4-0 is shared by three orders that diverge after it
    assert "    11 stages per configuration and seed, 15 without sharing" in output
    wrong = sweep_file(orders={"design": "latin_square", "before": [[0, 1]]})
    refused = sweeps_command("plan", wrong, "--storage", tmp_path)
    assert refused.exit_code == 2
    assert "so it cannot keep 0 before 1" in refused.output


def test_plan_warns_of_what_is_probably_unintended(
    sweeps_command: Command, sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    """Once for each sentence, naming a configuration that it concerns."""
    odd = sweep_file(search={"method.importance_threshold": [0, 0.01, 0.9]})
    shown = sweeps_command("plan", odd, "--storage", tmp_path / "storage").output
    warnings = [line for line in shown.splitlines() if line.startswith("  warning: ")]
    assert len(warnings) == 1
    assert any("all 12 matrices are frozen from stage 3 of 5" in line for line in warnings)
    assert "importance_threshold=0.9" in "".join(warnings)


def test_pareto_shows_the_front_with_intervals(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("pareto", finished)
    assert result.exit_code == 0
    assert "±" in result.output
    assert "front (*): Pareto front of the validation means" in result.output
    assert "joint_lora" in result.output
    starred = [line for line in result.output.splitlines() if line.strip().startswith("*")]
    assert starred
    assert not any("joint_lora" in line for line in starred)


@pytest.mark.parametrize("columns", [80, 200])
def test_pareto_is_readable_on_a_narrow_terminal(
    finished: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Nothing is cut off, and no line is longer than the terminal."""
    monkeypatch.setattr(text_tables, "terminal_columns", lambda: columns)
    stored = open_stored_sweep(str(finished))
    said = front_document(stored.sweep, read_results(stored.sweep, stored.objects)).text
    lines = said.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in said
    label = "lorac_ipc importance_threshold=0.2"
    assert label in said
    if columns == 80:  # a numbered list of the labels, then the numbers of each row
        listed = next(line.split() for line in lines if label in line)
        values = [line for line in lines if line.split()[:1] == [listed[0]]]
        assert len(values) > 2
    else:
        assert "configuration" in lines[1]
        assert "val. accuracy" in lines[1]


def test_batch_wise_figures_are_marked_wherever_they_are_shown(
    sweeps_command: Command, finished: Path
) -> None:
    name = "batch-cosine-b4-tap-e1"
    for command in ("pareto", "orders", "effects"):
        result = sweeps_command(command, finished, "--readout", name)
        assert result.exit_code == 0, result.output
        assert f"`{name}`: batch-wise" in result.output
        assert "leaks the task" in result.output
        assert "batch-wise" not in sweeps_command(command, finished).output
    beside = sweeps_command("pareto", finished, "--readout", name).output
    assert "nearest_class_mean (baseline, last)" in beside
    assert "nearest_class_mean (baseline)" in sweeps_command("pareto", finished).output


def test_pareto_shows_what_is_reached_in_a_share_of_the_runs(
    sweeps_command: Command, finished: Path
) -> None:
    output = sweeps_command("pareto", finished, "--attained").output
    rows = output.split("Attainment on")[1].splitlines()
    first = [line.split()[0] for line in rows if re.match(r" +\d+% ", line)]
    assert set(first) == {"25%", "50%", "75%", "100%"}


def test_orders_compares_with_the_seeds(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("orders", finished)
    assert result.exit_code == 0
    assert "aopd" in result.output
    assert "configuration x order" in result.output
    assert "Kendall's W" in result.output
    assert "Best and worst order" in result.output
    assert "a Williams design does" in result.output  # two orders cannot tell carry-over


def test_orders_of_a_metric_that_does_not_exist_offers_the_nearest(
    sweeps_command: Command, finished: Path
) -> None:
    result = sweeps_command("orders", finished, "--metric", "forgeting")
    assert result.exit_code == 2
    assert "Did you mean 'forgetting'?" in result.output
    assert "forgetting" in sweeps_command("orders", finished, "--metric", "forgetting").output


def test_why_names_the_stage_and_the_field(sweeps_command: Command, finished: Path) -> None:
    listing = sweeps_command("status", finished, "--trials").output
    rows = [line.split() for line in listing.splitlines() if "threshold=" in line]
    first = next(row[0] for row in rows if "importance_threshold=0" in row)
    second = next(row[0] for row in rows if "importance_threshold=0.2" in row)
    result = sweeps_command("why", finished, first, second[:8])
    assert "share 1 stages and diverge at stage 2" in result.output
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
        marker = verify_checksum(objects.get(name))
        state = state_from_bytes(objects.get(f"{folder}/{marker['state']}"))
        planted = next(tensor for key, tensor in state.items() if tensor.is_floating_point())
        planted.view(-1)[0] += 1.0
        data = state_to_bytes(state)
        marker["state"] = f"state-{sha256(data)}.safetensors"
        objects.put(f"{folder}/{marker['state']}", data)
        objects.put(name, add_checksum(marker))
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
    summary = pq.read_table(tmp_path / "out" / "summary.parquet")
    # 8 + 4 runs with two readouts or one, and 2 joint ones, each on two splits
    assert summary.num_rows == (8 * 2 + 4 + 2) * 2
    assert "method.importance_threshold" in summary.column_names
    csv = sweeps_command("export", finished, "--to", tmp_path / "csv", "--format", "csv")
    assert csv.exit_code == 0, csv.output
    assert (tmp_path / "csv" / "summary.csv").read_text().count("\n") == summary.num_rows + 1


def test_the_schema_says_what_every_column_of_every_table_means(
    sweeps_command: Command, finished: Path
) -> None:
    text = sweeps_command("schema", "--tables").output
    summary = text.split("### summary")[1]
    for name in sweeps.load(str(finished)).summary.column_names:
        if name not in {"sweep", "wanted"} and not name.startswith("method."):
            (line,) = [line for line in summary.splitlines() if line.startswith(f"| `{name}` |")]
            assert len(line.split("|")[4].strip()) > 10


def test_query_answers_from_the_summary(sweeps_command: Command, finished: Path) -> None:
    sql = (
        'SELECT "method.importance_threshold" AS threshold, count(*) AS n FROM summary '
        "WHERE split = 'test' AND readout_id = 'last' AND role = 'search' GROUP BY 1 ORDER BY 1"
    )
    result = sweeps_command("query", finished, sql, "--format", "csv")
    assert result.output.split() == ['"threshold","n"', "0,4", "0.2,4"]
    listed = sweeps_command("query", finished, "SELECT max(task_order) AS m FROM trials")
    assert "0, 1, 4, 3, 2" in listed.output
    assert "1 row" in listed.output


def test_an_invalid_query_is_reported_plainly(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("query", finished, "SELECT x FROM sumary")
    assert result.exit_code == 2
    assert (
        "The tables are trials, stages, evals, matrices, summary, configurations." in result.output
    )


def test_pareto_of_few_runs_counts_them_in_place_of_a_probability(
    sweeps_command: Command, finished: Path
) -> None:
    """Two orders and two seeds: no probability, but the runs in which the best one is ahead."""
    output = sweeps_command("pareto", finished).output
    heading = next(line for line in output.splitlines() if "configuration" in line)
    assert heading.split()[:2] == ["front", "configuration"]
    assert "needs at least 3 orders x 3 seeds" in " ".join(output.split())
    assert re.search(
        r"is ahead of .* in \d of 4 runs, by \d+\.\d points of average_accuracy", output
    )
    assert "hypervolume" in output


def test_pareto_names_what_is_missing(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "copy"
    shutil.copytree(finished, storage)
    parts = sorted(storage.glob("sweeps/small/results/trials/*.parquet"))
    searched = [p for p in parts if pq.read_table(p)["role"][0].as_py() == "search"]
    label = pq.read_table(searched[0])["label"][0].as_py()
    searched[0].write_bytes(searched[0].read_bytes()[:100])
    result = sweeps_command("pareto", storage)
    assert result.exit_code == 4
    assert f"results/trials/{searched[0].name} is left out" in result.output
    assert f"{label}: 1 fewer runs than others" in result.output
    assert "interval over 2 orders x 2 seeds with 3 runs" in result.output


def test_effects_are_matched_differences_of_every_value(
    sweeps_command: Command, finished: Path
) -> None:
    result = sweeps_command("effects", finished)
    assert result.exit_code == 0, result.output
    assert "average_accuracy (higher is better)" in result.output
    assert "forgetting (lower is better)" in result.output
    assert "method.importance_threshold" in result.output
    assert "Importance: not estimated, 2 configurations, at least 8 are needed" in result.output
    wrong = sweeps_command("effects", finished, "--metric", "accuracy")
    assert wrong.exit_code == 2
    assert "pooled_accuracy" in wrong.output


def test_matrices_are_mapped_and_freezing_is_compared_with_none(
    sweeps_command: Command, finished: Path
) -> None:
    result = sweeps_command("matrices", finished)
    assert result.exit_code == 0, result.output
    assert "lorac_ipc importance_threshold=0.2, 4 runs of 5 tasks" in result.output
    assert "frozen from stage" in result.output
    frozen = next(line for line in result.output.splitlines() if "=0.2   frozen " in line)
    assert frozen.count("±") == 3
    assert frozen.split()[-1] in {"yes", "no"}
    label = "lorac_ipc importance_threshold=0"
    _, correlations = result.output.split("Do important matrices move more, without freezing?")
    assert label in correlations
    assert "importance_threshold=0.2" not in correlations
    one = sweeps_command("matrices", finished, "--configuration", label).output
    assert f"{label}, 4 runs of 5 tasks" in one
    wrong = sweeps_command("matrices", finished, "--configuration", "joint_lra")
    assert wrong.exit_code == 2
    assert "Did you mean 'joint_lora'?" in wrong.output
