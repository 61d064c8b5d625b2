"""One node after another loses its power for five minutes while 500 short trials run."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import CLOCKS, lent_lab
from tests.cluster.evidence import SharedFolder, scenario
from tests.cluster.fault_sweep import start_driver
from tests.cluster.lab.command import Command
from tests.cluster.lab.laboratory import Lab
from tests.cluster.lab.ray_cluster import RayCluster
from tests.cluster.lab.slow import paced
from tests.sweeps.execution.tables import final_tables
from tests.sweeps.stages.small import DOCUMENT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

HOSTS = ("head", "w1", "w2", "w3")
DURATION_S = 300.0
PERIOD_S = 20.0
LONGEST_S = 800.0

SWEEP: dict[str, Any] = {
    **DOCUMENT,
    "name": "rolling",
    "stream": {"dataset": "digits", "tasks": 2, "limit": 4},
    "readouts": [{"routing": "last"}],
    "search": {"method.importance_threshold": [0, 0.1, 0.2, 0.3]},
    "seeds": list(range(125)),
}
"""500 trials."""
STAGES = 625
STAGES_PER_S = STAGES / DURATION_S / 2
"""Pace during the power cuts. It is exceeded by what runs between two looks, so that the pace of a
sweep that ends with the cuts would let it end before them."""

REFERENCE = """
import sys
from pathlib import Path
from tests.cluster.test_rolling_loss import SWEEP
from tests.recovery.sweeping import unbroken_tables
unbroken_tables(Path(sys.argv[1]), SWEEP)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lent_lab("rolling", HOSTS, CLOCKS) as started:
        yield started


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The undisturbed run, at work while the nodes fail."""
    process = subprocess.Popen(
        ["nice", "-n", "19", sys.executable, "-c", REFERENCE, str(tmp_path / "reference")],
        stdout=(tmp_path / "reference.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    yield process
    process.kill()
    process.wait()


def test_500_trials_survive_the_loss_of_one_node_every_20_seconds(
    lab: Lab, reference: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    cluster = RayCluster(lab, lab["head"], [lab["w1"], lab["w2"], lab["w3"]])
    cluster.prepare()
    cluster.start()
    storage = SharedFolder("/shared/rolling", lab.shared / "rolling")
    with scenario("rolling loss of nodes", len(HOSTS), storage, SWEEP["name"]) as test:
        driver = start_driver(cluster.head, storage.url, document=SWEEP)
        joining: dict[str, Command] = {}
        with paced(lambda: cluster.workers, test.watch.count, STAGES_PER_S):
            test.watch.wait_for(4, driver)
            started = time.monotonic()
            for number, worker in enumerate(itertools.cycle(cluster.workers)):
                if time.monotonic() - started > DURATION_S or not driver.running:
                    break
                if worker.name in joining:
                    joining.pop(worker.name).wait().expect()
                worker.power_off()
                test.inject("power cut of a worker node")
                worker.power_on()
                joining[worker.name] = cluster.begin_worker(worker)
                time.sleep(max(0.0, started + (number + 1) * PERIOD_S - time.monotonic()))
        for command in joining.values():
            command.wait().expect()
        done = driver.wait(LONGEST_S).expect()
        assert "500 of 500 trials finished, 0 failed" in done.output
        assert reference.wait(LONGEST_S) == 0, (tmp_path / "reference.log").read_text()
        test.must_equal(final_tables(tmp_path / "reference", SWEEP["name"]), SWEEP["name"])
        assert len(test.faults) >= DURATION_S / PERIOD_S - 1
