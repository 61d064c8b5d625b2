"""A folder of wheels with all that a host installs, made once for a set of pins."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tomllib
from pathlib import Path

from tests.cluster.lab.records import BUILD, REPOSITORY
from tests.cluster.lab.requirements import HOST_PYTHON


def wheel_folder() -> Path:
    """The folder; the first call with new pins downloads some gigabytes."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    requirements = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["cluster"],
        *project["build-system"]["requires"],
    ]
    pins = (REPOSITORY / "constraints.txt").read_text()
    version = subprocess.run(
        [str(HOST_PYTHON), "--version"], capture_output=True, text=True, check=True
    ).stdout
    digest = hashlib.sha256("\n".join([version, pins, *requirements]).encode()).hexdigest()
    folder = BUILD / f"wheels-{digest[:12]}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of tests may ask at once
        if not (folder / "complete").exists():
            for old in BUILD.glob("wheels-*"):
                shutil.rmtree(old)
            _download(folder, requirements)
            (folder / "complete").touch()
    return folder


def _download(folder: Path, requirements: list[str]) -> None:
    """With the interpreter of the hosts and the pip that it brings along."""
    environment = BUILD / "pip"
    subprocess.run([str(HOST_PYTHON), "-m", "venv", "--clear", str(environment)], check=True)
    command = [str(environment / "bin/pip"), "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--constraint", str(REPOSITORY / "constraints.txt"), "--wheel-dir", str(folder)]
    subprocess.run(["nice", *command, *requirements], check=True)
    shutil.rmtree(environment)
