"""Ray that does not start, or fails: one sentence, with what was kept and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
import ray.exceptions

from sweeps.execution.cluster.connection import ClusterError, ray_cluster
from tests.sweeps.execution.drivers import run_to_end, write_sweep
from tests.sweeps.run_files import TINY_SWEEP

SLOW = (
    "The current node timed out during startup. This could happen because some of the raylet "
    "failed to startup or the GCS has become overloaded."
)


def test_a_start_that_fails_ends_the_run_with_one_sentence(tmp_path: Path) -> None:
    """Ray's sockets lie below its folder; their paths have at most 107 bytes."""
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    file = write_sweep(tmp_path / "tiny.yaml", TINY_SWEEP)
    done = run_to_end(file, tmp_path / "storage", RAY_TMPDIR=str(folder))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "starting Ray on this machine" in done.stdout.splitlines()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: Ray did not start on this machine: ")
    assert "stored stages and results stay" in line
    assert "RAY_TMPDIR" in line
    assert "run the same command again" in line
    assert done.stderr.splitlines()[-1] == "exit code 1: stopped by a ClusterError"


def test_a_node_that_is_too_slow_is_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**arguments: object) -> None:
        raise Exception(SLOW)  # as Ray does

    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(ClusterError, match=r"did not start .*: The current node timed out"),
        ray_cluster(None),
    ):
        pass


def test_an_error_of_ray_during_a_run_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "init", lambda **arguments: None)
    with (
        pytest.raises(ClusterError, match=r"Ray failed: System error: no raylet\. Stored stages"),
        ray_cluster(None),
    ):
        raise ray.exceptions.RaySystemError("no raylet.\nsecond line")
