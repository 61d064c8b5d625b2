"""The end of `sweeps run`: exit codes, and where the results are."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from sweeps.cli.text.run_summary import ending, ending_text, place_text, program_prefix
from sweeps.execution.driver import SweepOutcome
from sweeps.planning.plan import make_plan
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.stages.small import small_sweep

HOST = socket.gethostname()


def outcome(**fields: Any) -> SweepOutcome:
    plan = make_plan(small_sweep(), StageStore(open_storage("memory://")))
    known = {"trained": 1, "finished": 0, "failed": (), "interrupted": False}
    return SweepOutcome(plan=plan, **{**known, **fields})


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({}, 0, ""),
        ({"failed": (("a", "b"), ("c", "d"))}, 1, "2 trials failed"),
        ({"halted": "full"}, 1, "the same command continues"),
        ({"halted": "full", "failed": (("a", "b"),)}, 1, "the same command continues"),
        ({"interrupted": True}, 130, "interrupted before the end; the same command continues"),
        ({"budget_used": "stages: 1 of 1 are used"}, 3, "are used), 2 stages are left to train"),
    ],
)
def test_every_end_has_its_exit_code_and_says_it(
    fields: dict[str, Any], code: int, words: str
) -> None:
    found, meaning = ending(outcome(**fields))
    assert found == code
    assert words in meaning
    assert (meaning == "") == (code == 0)
    assert ending_text(found, meaning) == f"exit code {code}: {meaning}"


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_results_on_this_machine_are_named_as_the_user_named_them() -> None:
    said = lines(place_text("small", "runs/", False, "runs/sweeps/small/report.html", 1))
    assert "results runs/sweeps/small" in said
    assert "report runs/sweeps/small/report.html" in said
    assert "analyze sweeps pareto runs/sweeps/small" in said
    assert not any("fetch" in line or HOST in line for line in said)


def test_the_next_commands_work_as_printed(
    sweeps_command: Callable[..., Result],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = tmp_path / "my sweeps"
    shutil.copytree(finished, storage)
    monkeypatch.chdir(tmp_path)
    said = lines(place_text("small", str(storage), False, "r", 1))
    analyze, select = (shlex.split(line) for line in said if " sweeps " in f" {line}")
    assert sweeps_command(*analyze[2:]).exit_code == 0
    assert sweeps_command(*select[1:]).exit_code == 0
    train = shlex.split(said[-1])
    assert train[:2] == ["clmethods", "train"]
    script = "from clmethods.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *train[1:]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "prediction interval for one new run (test)" in done.stdout


def test_commands_name_the_folder_of_programs_that_are_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "sweeps"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [".venv/bin/sweeps", "run"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_prefix() == ".venv/bin/"
    said = lines(place_text("small", "runs", False, "r", 1, program_prefix()))
    assert "analyze .venv/bin/sweeps pareto runs/sweeps/small" in said
    assert said[-1] == ".venv/bin/clmethods train production.yaml -o model"
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_prefix() == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/x/sweeps/__main__.py"])
    assert program_prefix() == ""


def test_results_in_a_folder_of_a_cluster_are_on_the_head() -> None:
    said = lines(place_text("small", "/shared/sweeps", True, "r", 1))
    where = "/shared/sweeps/sweeps/small"
    assert f"results {where} (a folder on {HOST})" in said
    fetch = said.index(f"ray rsync-down cluster.yaml {where}/ ~/results/sweeps/small/")
    assert said[fetch - 1] == "mkdir -p ~/results/sweeps"  # rsync makes the last folder only
    assert f"or: rsync -a {HOST}:{where}/ ~/results/sweeps/small/" in said


@pytest.mark.parametrize("on_cluster", [False, True])
def test_results_in_a_bucket_are_read_from_anywhere(on_cluster: bool) -> None:
    said = lines(place_text("small", "s3://bucket/x", on_cluster, "r", 1))
    where = "s3://bucket/x/sweeps/small"
    assert f"results {where}" in said
    assert f"sweeps report {where} -o ~/results/small.html" in said
    assert f"sweeps export {where} --to ~/results/small" in said
    assert not any("rsync" in line for line in said)


@pytest.mark.parametrize("storage", ["runs", "s3://bucket/x"])
def test_without_a_finished_trial_there_is_nothing_to_fetch_or_analyze(storage: str) -> None:
    said = lines(place_text("small", storage, True, "not written", 0))
    assert said[0] == ""
    assert said[1].startswith(f"results {storage}/sweeps/small")
    assert said[2:] == ["report not written"]
