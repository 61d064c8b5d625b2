"""`sweeps run` with a stdout that nobody reads, as a real process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.sweeps.execution.drivers import PATIENCE_S, clean_environment, command, write_sweep
from tests.sweeps.execution.tables import stage_files
from tests.sweeps.stages.small import DOCUMENT


@pytest.mark.parametrize(
    "redirection", ["| head -1", pytest.param("<&- >&- 2>&-", marks=pytest.mark.slow)]
)
def test_the_sweep_is_finished_without_output(tmp_path: Path, redirection: str) -> None:
    file, storage = write_sweep(tmp_path / "sweep.yaml", DOCUMENT), tmp_path / "storage"
    shell = ["bash", "-c", f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}', "bash"]
    done = subprocess.run(
        [*shell, *command(file, storage)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=clean_environment() | {"PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert stage_files(storage)
    assert (storage / "sweeps" / "small" / "report.html").exists()
