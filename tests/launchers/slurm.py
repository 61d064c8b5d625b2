"""Stand-ins for Slurm: an allocation of two nodes, both on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.launchers.files import CLUSTER, REPOSITORY

SRUN = """#!/usr/bin/env bash
# Runs the command of a job step here. Slurm would run it on the node of --nodelist.
while [[ ${1:-} == -* ]]; do
    [[ $1 == --nodelist=* ]] && echo "${1#*=}" >>"$HOME/steps"
    shift
done
exec "$@"
"""

SCONTROL = """#!/usr/bin/env bash
[ "$1 $2" = "show hostnames" ] && tr , '\\n' <<<"$3"
"""

SWEEP = """
name: slurm
backbone: {name: nano_vit32, weights: shipped, image_size: 16}
stream: {dataset: digits, tasks: 4, limit: 12}
method: {kind: lora_sequential, rank: 2}
train: {epochs: 1, batch_size: 8}
orders: {design: identity}
readouts: [{routing: last}]
objectives: {average_accuracy: max}
"""


@dataclass(frozen=True)
class Job:
    """One allocation of two nodes, both on loopback."""

    home: Path
    environment: dict[str, str]

    @property
    def number(self) -> str:
        return self.environment["SLURM_JOB_ID"]

    @property
    def token(self) -> Path:
        return self.home / ".lorac-sweeps" / f"slurm-{self.number}" / "auth_token"

    def submit(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the script as Slurm does, with its output in a pipe."""
        return subprocess.Popen(
            ["bash", str(CLUSTER / "slurm.sh"), *arguments],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[str]:
        """Return the command lines of the job's Ray processes."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_text(errors="replace").replace("\0", " ")
            except OSError:  # ended in between
                continue
            if f"/tmp/lorac-{self.number}" in line:
                found.append(line)
        return found


@contextmanager
def allocation(tmp_path: Path) -> Iterator[Job]:
    """A home, a project, a sweep file, and stand-ins for srun and scontrol."""
    commands, project = tmp_path / "bin", tmp_path / "project"
    commands.mkdir()
    project.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    (project / "cluster").symlink_to(CLUSTER)
    (project / ".venv").symlink_to(sys.prefix)
    (tmp_path / "slurm.yaml").write_text(SWEEP)
    number = str(os.getpid())
    environment = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    yield Job(
        tmp_path,
        environment
        | {
            "HOME": str(tmp_path),
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "LORAC_PROJECT": str(project),
            "SLURM_JOB_ID": number,
            "SLURM_JOB_NODELIST": "127.0.0.1,localhost",
            "SLURM_CPUS_PER_TASK": "1",
        },
    )
    shutil.rmtree(f"/tmp/lorac-{number}", ignore_errors=True)
