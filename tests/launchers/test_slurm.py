"""slurm.sh where it fails before a cluster is up; tests/cluster has a whole run."""

from __future__ import annotations

from pathlib import Path

from tests.launchers.files import CLUSTER
from tests.launchers.slurm import allocation


def test_a_head_that_does_not_start_is_shown(tmp_path: Path) -> None:
    with allocation(tmp_path) as job:
        environment = tmp_path / "project" / ".venv"  # environment.sh puts it first in PATH
        environment.unlink()
        ray = environment / "bin" / "ray"
        ray.parent.mkdir(parents=True)
        ray.write_text("#!/bin/sh\necho the reason >&2\nexit 1\n")
        ray.chmod(0o755)
        output, _ = (script := job.submit("run", "slurm.yaml")).communicate(timeout=60)
    assert script.returncode == 1, output
    assert "the head did not start on 127.0.0.1" in output
    assert "the reason" in output
    assert not job.token.parent.exists()


def test_settings_with_a_secret_are_refused(tmp_path: Path) -> None:
    with allocation(tmp_path) as job:
        settings = tmp_path / ".lorac-sweeps" / "env"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("export AZURE_STORAGE_ACCOUNT_KEY=planted\n")
        output, _ = (script := job.submit("run", "slurm.yaml")).communicate(timeout=60)
        assert not job.token.parent.exists()
    assert script.returncode == 2, output
    assert "1: AZURE_STORAGE_ACCOUNT_KEY" in output
    assert "planted" not in output


def test_the_script_asks_for_a_signal_before_the_end_and_survives_a_lost_node() -> None:
    text = (CLUSTER / "slurm.sh").read_text(encoding="utf-8")
    options = [line.split()[1] for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert "--signal=B:TERM@300" in options  # only to the script: Ray must outlive the driver
    assert "--no-kill" in options
    first_command = text.index("set -uo pipefail")
    assert text.rindex("#SBATCH") < first_command  # Slurm reads no options after a command
