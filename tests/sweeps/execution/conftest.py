"""One sweep through the command line and the real Ray, shared by the tests that only look."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeps.definition import Sweep, sweep_from_dict
from tests.sweeps.execution.drivers import run_to_end, write_sweep
from tests.sweeps.stages.small import DOCUMENT

SWEEP = {
    **DOCUMENT,
    "search": {"method.importance_threshold": [0, 0.2]},
    "orders": {"design": "explicit", "list": [[0, 1, 2], [0, 2, 1], [2, 0, 1]]},
    "baselines": [
        {"method": {"kind": "nearest_class_mean"}},
        {"label": "too fast", "train": {"lr": 1e30}},
    ],
    "objectives": {"average_accuracy": "max"},
    "logging": {"tensorboard": True},
}
"""Six trials that share, one baseline that trains nothing, and one that diverges."""


SECRETS = {
    "AWS_ACCESS_KEY_ID": "PLANTED-KEY-ID",
    "AWS_SECRET_ACCESS_KEY": "planted-secret",
    "AWS_SESSION_TOKEN": "planted-token",
}
"""In the environment of the driver, and to be found nowhere afterwards."""


@dataclass(frozen=True)
class Ran:
    """A run of `SWEEP` that has ended."""

    sweep: Sweep
    file: Path
    storage: Path
    session: Path
    """Directory of the logs of Ray."""
    process: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Tests must not change its storage."""
    folder = tmp_path_factory.mktemp("ran")
    file, storage = write_sweep(folder / "sweep.yaml", SWEEP), folder / "storage"
    with tempfile.TemporaryDirectory() as session:  # sockets need a short path
        process = run_to_end(file, storage, RAY_TMPDIR=session, **SECRETS)
        yield Ran(sweep_from_dict(SWEEP), file, storage, Path(session), process)


@pytest.fixture
def environment() -> Iterator[None]:
    """Restore the environment variables that Ray changes in this process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
