"""A fork of a finished chain through the command line, the real Ray, and a terminal."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from sweeps.cli import main
from sweeps.definition import expand, load_sweep
from tests.sweeps.execution.conftest import Ran
from tests.sweeps.execution.drivers import clean_environment, command
from tests.sweeps.execution.tables import stage_files


@pytest.mark.slow  # beside its own run, the one that it forks
@pytest.mark.timeout(900)
def test_a_fork_trains_what_comes_after_and_is_watched(ran: Ran, tmp_path: Path) -> None:
    storage, file = tmp_path / "storage", tmp_path / "branch.yaml"
    shutil.copytree(ran.storage, storage)
    trial = next(t for t in expand(ran.sweep) if t.label.endswith("threshold=0.2"))
    options = ["--trial", trial.trial_id[:10], "--stage", "1", "-o", str(file)]
    made = CliRunner().invoke(main, ["fork", str(storage), *options])
    assert made.exit_code == 0, made.output
    assert "method.importance_threshold  (now 0.2; acts from stage 2)" in file.read_text()

    document = yaml.safe_load(file.read_text())
    document["search"] = {"method.importance_threshold": [0.2, 0.5]}
    file.write_text(yaml.safe_dump(document))
    before = set(stage_files(storage))
    code, shown = in_terminal(command(file, storage))
    assert code == 0, shown
    assert "2 of 2 trials finished, 0 failed; trained 2 stages" in shown
    (desired,) = [t for t in expand(load_sweep(file)) if t.label.endswith("threshold=0.5")]
    assert set(stage_files(storage)) - before == {stage.key for stage in desired.chain[1:]}

    assert "1 finished · " in shown
    assert "3 reused" in shown
    assert re.search(r"best +average_accuracy [0-9.]+ % +lorac_ipc importance_threshold=", shown)
    for word in ("ray", "tune", "userwarning", "futurewarning", "traceback"):
        assert not re.search(rf"\b{word}\b", shown.lower().replace(str(tmp_path), "")), word


def in_terminal(arguments: list[str]) -> tuple[int, str]:
    """Exit code and all that was shown, of a command that believes in a terminal."""
    ours, theirs = pty.openpty()
    environment = {**clean_environment(), "COLUMNS": "120", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux says so at the end
            break
        if not data:
            break
        shown += data
    os.close(ours)
    return process.wait(), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
