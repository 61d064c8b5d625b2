"""slurm.sh with stand-ins for Slurm's commands: a real Ray cluster on loopback, a real sweep."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launchers.slurm import Job, allocation

pytestmark = pytest.mark.cluster

STARTED, ENDED = 90, 60
"""Seconds after which a step of the test has failed; each takes a few."""


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    with allocation(tmp_path) as job:
        yield job


def wait_for(condition: Callable[[], bool], seconds: float, script: subprocess.Popen[str]) -> None:
    """Wait for a condition while the script runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        assert script.poll() is None, script.communicate()[0]
        time.sleep(0.1)


def test_a_job_finishes_its_stages_when_its_time_ends_and_the_next_one_continues(job: Job) -> None:
    arguments = ("run", "slurm.yaml", "--storage", str(job.home / "storage"))

    def stages() -> int:
        return len(list(job.home.glob("storage/stages/*/*/stage.json")))

    first = job.submit(*arguments)
    wait_for(lambda: job.token.exists() and job.token.stat().st_size > 0, STARTED, first)
    assert job.token.stat().st_mode & 0o777 == 0o600
    assert job.token.parent.stat().st_mode & 0o777 == 0o700
    secret = job.token.read_text().strip()
    wait_for(lambda: stages() >= 1, STARTED, first)
    assert not any(secret in line for line in job.processes())
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=ENDED)
    assert first.returncode == 130, output
    assert "finishing the running stages" in output
    logs = [path.read_text() for path in job.home.glob("lorac-sweeps-*.log")]
    assert len(logs) == 2  # one per node
    assert not any(secret in text for text in (output, *logs))
    stored = stages()
    assert 1 <= stored < 4, output
    assert not job.token.parent.exists()
    assert job.processes() == []

    second = job.submit(*arguments)
    output, _ = second.communicate(timeout=STARTED + ENDED)
    assert second.returncode == 0, output
    assert f"trained {4 - stored} stages" in output
    assert stages() == 4
    assert job.processes() == []
    steps = (job.home / "steps").read_text().split()
    assert steps == ["127.0.0.1", "localhost"] * 2  # the head is on the first node
