"""The restore: everything but the storage is lost in the middle of a sweep, and it continues."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.planning.lease_readings import Sign
from sweeps.planning.status_model import SweepState, SweepStatus
from sweeps.planning.sweep_status import read_statuses
from sweeps.results.history import RunOutcome
from sweeps.storage import open_storage
from tests.recovery.sweeping import TIME_TO_LIVE_S, Target
from tests.sweeps.execution.drivers import Driver, wait_until
from tests.sweeps.execution.tables import final_tables, rewritten

pytestmark = [pytest.mark.recovery, pytest.mark.timeout(600)]


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Home and temporary folder of two machines; processes that start now are on the first."""
    folders = [Path(tempfile.mkdtemp(prefix="m-")) for _ in range(2)]  # sockets need short paths
    for folder in folders:
        (folder / "home").mkdir()
        (folder / "tmp").mkdir()
    move_to(folders[0], monkeypatch)
    yield folders
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def move_to(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(machine / "home"))
    monkeypatch.setenv("TMPDIR", str(machine / "tmp"))
    monkeypatch.chdir(machine / "home")


def status_of(storage: Path) -> SweepStatus:
    (found,) = read_statuses(open_storage(str(storage), create=False), ["small"])
    return found


def test_everything_but_the_storage_is_lost(
    target: Target, machines: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machines
    driver = target.start()
    try:
        target.wait_for(driver, 2)
        check_running(target, driver)
        assert any((first / "tmp").iterdir())  # Ray's session is here
        driver.signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
        wait_until(lambda: not driver.workers(), "workers outlived their driver")
    finally:
        driver.clean()
    survived = target.committed()
    check_killed(target, driver, len(survived))

    moved = replace(target, storage=second / "restored")
    os.rename(target.storage, moved.storage)
    shutil.rmtree(first)
    target.file.unlink()
    move_to(second, monkeypatch)
    log = target.folder / "restored.log"
    options = ("--from-storage", "--lease-ttl", TIME_TO_LIVE_S)
    driver = Driver(Path("small"), moved.storage, log, *options)
    try:
        code = driver.wait()
    finally:
        driver.clean()
    assert code == 0, driver.output

    assert {key: moved.committed().get(key) for key in survived} == survived
    missing = len(target.unbroken["stages"]) - len(survived)
    assert missing > 0
    assert f"4 of 4 trials finished, 0 failed; trained {missing} stages" in driver.output
    assert rewritten(moved.storage) == []
    assert final_tables(moved.storage, "small") == target.unbroken
    check_restored(moved, missing)


def check_running(target: Target, driver: Driver) -> None:
    """Check the status of the driver and its workers as another process reads it."""
    status = status_of(target.storage)
    assert status.state is SweepState.RUNNING
    (found,) = status.drivers
    assert (found.sign, found.pid, found.host) == (Sign.ALIVE, driver.pid, socket.gethostname())
    assert found.file == str(target.file)
    (node,) = status.nodes
    assert node.node == socket.gethostname()
    assert node.slots >= 1
    assert status.counts.stored >= 2
    assert {stage.node for stage in status.running} <= {node.node}
    known = {row["stage_key"] for row in target.unbroken["stages"]}
    assert {stage.key for stage in status.running} <= known


def check_killed(target: Target, driver: Driver, stored: int) -> None:
    status = status_of(target.storage)
    assert status.state is SweepState.SILENT
    (found,) = status.drivers
    assert (found.sign, found.pid) == (Sign.SILENT, driver.pid)
    assert status.running == ()
    assert (status.counts.stored, status.counts.failed) == (stored, 0)


def check_restored(target: Target, trained: int) -> None:
    status = status_of(target.storage)
    assert (status.state, status.drivers) == (SweepState.FINISHED, ())  # the killed one's is gone
    killed, restored = status.history.runs
    assert (killed.outcome, restored.outcome) == (RunOutcome.NOT_LOGGED, RunOutcome.COMPLETED)
    assert len(restored.trained) == trained
    assert killed.started is not None
    assert restored.started is not None
    assert restored.started.document == killed.started.document
    assert restored.started.file == f"{target.storage}/sweeps/small/sweep.yaml"
