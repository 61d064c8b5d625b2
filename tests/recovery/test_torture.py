"""Random kills over driver, workers and both, again and again: `make torture`.

A sweep is started, hit and started again until it has finished; then its tables are compared with
those of an unbroken run, and the next sweep begins on a new storage, until there were enough hits.
Every other sweep is searched by a model, with early stopping and racing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recovery.sweeping import DOCUMENTS, OF_RAY, Target, target_in
from tests.sweeps.execution.drivers import PATIENCE_S, Driver
from tests.sweeps.execution.tables import Tables, rewritten

HITS = int(os.environ.get("TORTURE_HITS", "36"))
SEED = int(os.environ.get("TORTURE_SEED", "0"))
KINDS = {"worker": 5, "driver": 3, "both": 3, "SIGTERM": 1, "SIGINT twice": 1}
"""Relative frequency of each kind. The driver survives only the death of a worker."""

ENDS = (0, 130, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM, *OF_RAY)
"""Exit codes of a driver; those of Python and of Ray come from signals while they start."""

LONGEST_START_S, LONGEST_STAGE_S = 12.0, 1.0


class Computations(threading.Thread):
    """Looks at the leases all the time: each has a number of its own, so each is counted once."""

    def __init__(self, storage: Path) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self._storage, self._over = storage, threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.02):
            for lease in self._storage.glob("leases/*/*"):
                try:
                    self.seen.add(json.loads(lease.read_text()).get("lease", ""))
                except (OSError, ValueError):
                    continue  # given back, or a verdict
        self.seen.discard("")

    def stop(self) -> int:
        """Stop the thread and return the number of leases seen."""
        self._over.set()
        self.join()
        return len(self.seen)


def wait_while(driver: Driver, condition: Callable[[], bool]) -> None:
    """Until the condition no longer holds, or the driver has ended."""
    patience = time.monotonic() + PATIENCE_S
    while driver.running and condition():
        assert time.monotonic() < patience, driver.output
        time.sleep(0.01)


def hit(target: Target, driver: Driver, kind: str, dice: random.Random) -> bool:
    """One kill, mostly a moment after some stage was finished, else while the driver starts.

    Whether there was anything left to be hit.
    """
    stages, moment = 0, dice.uniform(0.0, LONGEST_START_S)
    if dice.random() < 0.8:
        stages, moment = dice.randrange(1, 4), dice.uniform(0.0, LONGEST_STAGE_S)
    desired = len(target.committed()) + stages
    wait_while(driver, lambda: len(target.committed()) < desired)
    end = time.monotonic() + moment
    wait_while(driver, lambda: time.monotonic() < end)
    workers = driver.workers()
    if not driver.running or (kind == "worker" and not workers):
        return False
    if kind in ("worker", "both") and workers:
        dice.choice(workers).kill()
    if kind in ("driver", "both"):
        driver.signal(signal.SIGKILL)
    if kind == "SIGTERM":
        driver.signal(signal.SIGTERM)
    if kind == "SIGINT twice":
        driver.signal(signal.SIGINT, group=True)
        end = time.monotonic() + dice.uniform(0.0, LONGEST_STAGE_S)
        wait_while(driver, lambda: time.monotonic() < end)
        if driver.running:
            driver.signal(signal.SIGINT, group=True)
    return True


@pytest.mark.torture
@pytest.mark.timeout(3 * 3600)
def test_whatever_is_killed_whenever_the_end_is_the_same(
    tmp_path: Path, all_unbroken: dict[str, Tables], capsys: pytest.CaptureFixture[str]
) -> None:
    dice, hits, lives = random.Random(SEED), Counter[str](), 0
    sweeps = begun = finished = 0
    while hits.total() < HITS:
        kind = list(DOCUMENTS)[sweeps % len(DOCUMENTS)]
        folder = tmp_path / f"sweep-{sweeps}"
        target = target_in(folder, all_unbroken[kind], DOCUMENTS[kind])
        computations = Computations(target.storage)
        computations.start()
        lives += 1
        while not one_life(target, dice, hits):
            lives += 1
        target.finish()
        seen = computations.stop()
        sweeps, begun, finished = sweeps + 1, begun + seen, finished + len(target.committed())
        with capsys.disabled():
            sys.stdout.write(
                f"\nsweep {sweeps} ({kind}): equal to the unbroken one after {hits.total()} hits "
                f"in {lives} lives; {len(target.committed())} stages, begun {seen} times\n"
            )
            sys.stdout.flush()
    with capsys.disabled():
        sys.stdout.write(f"\nseed {SEED}: {dict(hits)}; {finished} stages, begun {begun} times\n")


def one_life(target: Target, dice: random.Random, hits: Counter[str]) -> bool:
    """A driver from its start to its end by a hit or by itself; whether it finished the sweep."""
    before = target.committed()
    driver = target.start()
    try:
        for _ in range(3):  # more deaths than a trial survives would be a failure, rightly
            if not driver.running:
                break
            kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
            hits[kind] += hit(target, driver, kind, dice)
            if kind != "worker":
                break
        code = driver.wait()
    finally:
        driver.clean()
    after = target.committed()
    assert {key: after.get(key) for key in before} == before, driver.output
    assert rewritten(target.storage) == []
    assert target.failed() == [], driver.output
    assert code in ENDS, driver.output
    assert code not in (0, 130) or "Traceback" not in driver.output, driver.output
    return code == 0
