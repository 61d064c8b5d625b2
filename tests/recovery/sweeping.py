"""A sweep that is hit while it runs, and the same sweep left in peace."""

from __future__ import annotations

import math
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.definition import sweep_from_dict
from sweeps.execution.driver import run_sweep
from sweeps.planning.stage_tree import StageTree
from sweeps.results import read_table
from sweeps.search.stored_observations import current_step
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.execution.drivers import Driver, wait_until, write_sweep
from tests.sweeps.execution.tables import Tables, final_tables, rewritten, stage_files
from tests.sweeps.stages.small import DOCUMENT, runner_of

SWEEP: dict[str, Any] = {
    **DOCUMENT,
    "stream": {"dataset": "digits", "tasks": 3, "limit": 12},
    "train": {"epochs": 4, "batch_size": 4},
    "search": {"method.importance_threshold": [0, 0.2]},
    "orders": {"design": "explicit", "list": [[0, 1, 2], [2, 0, 1]]},
}
"""Four trials of ten stages, long enough to be hit in the middle."""

SEARCHED: dict[str, Any] = {
    **SWEEP,
    "search": {
        "method.importance_threshold": {"uniform": [0, 0.5]},
        "train.lr": {"log": [0.01, 1]},
    },
    "algorithm": {"kind": "nsga2", "trials": 4, "batch": 2},
    "early_stop": {"after_task": 1, "reduction_factor": 2, "audit": 0.5},
    "racing": {"start": 2, "step": 1},
    "seeds": [0, 1],
}
"""A model, rungs and a race: what is trained depends on everything before."""

DOCUMENTS = {"grid": SWEEP, "searched": SEARCHED}

TIME_TO_LIVE_S = 3.0

OF_RAY = (signal.SIGTERM, -signal.SIGABRT)
"""Exit codes of a driver that Ray ends on SIGTERM while it starts.

The handler of the sweep is not installed again at that time.
"""


@dataclass(frozen=True)
class Target:
    """A storage whose sweep is run, hit, and run again."""

    file: Path
    storage: Path
    unbroken: Tables

    @property
    def folder(self) -> Path:
        return self.file.parent

    def start(self, *options: object, terminal: int | None = None) -> Driver:
        """A driver; `clean` it."""
        number = len(list(self.folder.glob("driver-*.log")))
        log = self.folder / f"driver-{number}.log"
        ttl = ("--lease-ttl", TIME_TO_LIVE_S)
        return Driver(self.file, self.storage, log, *ttl, *options, terminal=terminal)

    def committed(self) -> dict[str, tuple[int, int]]:
        """Finished stages, and what would change if one was written again."""
        return {
            key: (status.st_ino, status.st_mtime_ns)
            for key, marker in stage_files(self.storage).items()
            for status in [marker.stat()]
        }

    def leased(self, seconds: float = math.inf) -> set[str]:
        """Keys of the stages that have a lease, whose owner wrote to it in the last seconds."""
        found = set()
        for lease in self.storage.glob("leases/*/*"):
            with suppress(FileNotFoundError):  # it was given back meanwhile
                if lease.name.isdigit() and time.time() - lease.stat().st_mtime < seconds:
                    found.add(lease.parent.name)
        return found

    def presences(self) -> list[Path]:
        """Leases by which drivers are seen."""
        return [*self.storage.glob("sweeps/*/running/*/*")]

    def in_flight(self) -> set[str]:
        """Keys of the stages that are being computed, not those that a dead driver left."""
        return self.leased(TIME_TO_LIVE_S)

    def wait_for(self, driver: Driver, stages: int) -> None:
        """Until so many stages are finished, and another one is being computed."""

        def ready() -> bool:
            assert driver.running, driver.output
            return len(self.committed()) >= stages and bool(self.in_flight() and driver.workers())

        wait_until(ready, driver.output)

    def failed(self) -> list[dict[str, Any]]:
        """Rows of trials that are said to have failed."""
        trials = read_table(open_storage(str(self.storage)), SWEEP["name"], "trials").table
        return [row for row in trials.to_pylist() if row["status"] == "failed"]

    def finish(self, *options: object) -> str:
        """Run the same command until it ends by itself; what it said."""
        before = self.committed()
        driver = self.start(*options)
        try:
            code, output = driver.wait(), driver.output
        finally:
            driver.clean()
        assert code == 0, output
        after = self.committed()
        assert {key: after.get(key) for key in before} == before  # none lost, none written again
        assert len(after) == len(self.unbroken["stages"])
        assert rewritten(self.storage) == []
        assert self.leased() <= set(after)  # killed when all was done but giving it back
        assert final_tables(self.storage, SWEEP["name"]) == self.unbroken
        return output


def unbroken_tables(storage: Path, document: dict[str, Any]) -> Tables:
    """The tables of the sweep when nothing happens to it; Ray is not needed for that."""
    sweep = sweep_from_dict(document)
    store = StageStore(open_storage(str(storage)))
    while True:
        step = current_step(sweep, store.objects)
        for trial, stages in step.requests:
            runner = runner_of(trial, store, stages=stages)
            while runner.position < stages:
                runner.advance()
        if step.finished:
            break
    outcome = run_sweep(sweep, store)
    assert (outcome.trained, outcome.plan.step) == (0, step)
    tables = final_tables(storage, sweep.name)
    assert len(tables["stages"]) == StageTree.of(step.trials, step.lengths).distinct >= 10
    assert len(tables["trials"]) == len(step.trials) >= 4
    return tables


def target_in(folder: Path, unbroken: Tables, document: dict[str, Any]) -> Target:
    """A fresh storage."""
    os.makedirs(folder, exist_ok=True)
    return Target(write_sweep(folder / "sweep.yaml", document), folder / "storage", unbroken)
