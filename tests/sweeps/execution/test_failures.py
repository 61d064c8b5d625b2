"""Failures are data: real processes that end badly, and what the tables say of it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from sweeps.definition import expand, sweep_from_dict
from sweeps.definition.retries import Retries
from sweeps.planning.stage_tree import StageTree
from sweeps.results import read_table
from sweeps.stages.stage_store import StageStore
from sweeps.storage import FULL, open_storage
from tests.sweeps.execution.disks import grow, small_disk
from tests.sweeps.execution.drivers import driver, run_to_end, wait_until, write_sweep
from tests.sweeps.execution.tables import stage_files
from tests.sweeps.stages.small import DOCUMENT, metrics, run_trial

LONG = {
    **DOCUMENT,
    "stream": {"dataset": "digits", "tasks": 2, "limit": 12},
    "train": {"epochs": 60, "batch_size": 2},
    "resources": {"max_concurrent": 1},
}
"""One trial of two stages, long enough to be hit."""


@pytest.mark.slow  # each worker that is started anew loads torch
@pytest.mark.timeout(900)
def test_workers_that_are_asked_to_end_are_no_failures(tmp_path: Path) -> None:
    """More often than workers may die: machines that are taken away send SIGTERM."""
    file, storage = write_sweep(tmp_path / "sweep.yaml", LONG), tmp_path / "storage"
    with driver(file, storage, tmp_path / "log", "--lease-ttl", 2) as running:
        for number in range(1, Retries().worker_failures + 2):
            wait_until(lambda: any(storage.glob("leases/*/*[0-9]")), running.output)
            running.workers()[0].signal(signal.SIGTERM)
            wait_until(lambda n=number: _terminations(running.output) == n, running.output)
        assert running.wait() == 0, running.output
        assert "1 of 1 trials finished, 0 failed" in running.output
    rows = read_table(open_storage(str(storage)), "small", "trials").table.to_pylist()
    assert [(row["status"], row["attempt"]) for row in rows] == [("finished", 1)]


def _terminations(output: str) -> int:
    return len(re.findall(r"\(SIGTERM\) on \S+; goes on from its last stage", output))


@pytest.mark.slow  # the same sweep three times
@pytest.mark.timeout(900)
def test_a_full_disk_ends_the_run_and_more_space_lets_it_go_on(tmp_path: Path) -> None:
    """Nothing that is stored is damaged, and no trial is called failed."""
    document = {**DOCUMENT, "seeds": [0, 1, 2], "resources": {"max_concurrent": 1}}
    file, sweep = write_sweep(tmp_path / "sweep.yaml", document), sweep_from_dict(document)
    distinct = StageTree.of(expand(sweep)).distinct
    with small_disk(tmp_path / "storage", "500k") as storage:
        stopped = run_to_end(file, storage)
        assert stopped.returncode == 1, stopped.stdout
        said, last = stopped.stderr.splitlines()
        assert said == f"stopped: {FULL}"
        assert last == "exit code 1: stopped before the end; the same command continues"
        assert "failed:" not in stopped.stdout
        kept = set(stage_files(storage))
        assert 0 < len(kept) < distinct
        grow(storage, "20m")
        again = run_to_end(file, storage)
        assert again.returncode == 0, again.stderr
        assert "3 of 3 trials finished, 0 failed" in again.stdout
        assert f"trained {distinct - len(kept)} stages" in again.stdout
        assert "damaged" not in again.stdout
        fresh = StageStore(open_storage("memory://"))
        for trial in expand(sweep):
            run_trial(trial, fresh)
        assert metrics(fresh.objects) == metrics(open_storage(str(storage)))
