"""Real processes, real signals: nothing that was finished is lost, and the end is the same.

`make test` runs the short form; `make test-recovery` every way to be hit by itself.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sweeps.execution.executor import HEAD_LOST
from sweeps.execution.signals import HANDLED
from tests.recovery.sweeping import OF_RAY, TIME_TO_LIVE_S, Target
from tests.sweeps.execution.drivers import Driver, Terminal, wait_until

INTERRUPTED = 130

pytestmark = [pytest.mark.recovery, pytest.mark.timeout(1200)]


def hit_worker(target: Target, driver: Driver) -> None:
    """A worker dies in the middle of a stage; the driver continues without intervention."""
    before = len(target.committed())
    driver.workers()[0].kill()
    target.wait_for(driver, before + 2)
    assert f"a worker died on {socket.gethostname()}; goes on from its last stage" in driver.output
    assert "raylet" not in driver.output


def hit_driver(target: Target, driver: Driver) -> None:
    """The driver dies; its workers follow within seconds, and may finish a stage meanwhile."""
    driver.signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    wait_until(lambda: not driver.workers(), "workers outlived their driver")


def hit_head(target: Target, driver: Driver) -> None:
    """Ray's control service dies: the driver says so at once, where Ray would wait a minute."""
    (head,) = [process for process in driver.family() if "gcs_server" in process.name]
    head.kill()
    started = time.monotonic()
    assert driver.wait() == 1, driver.output
    assert time.monotonic() - started < 30
    assert HEAD_LOST in driver.output
    last = driver.output.splitlines()[-1]
    assert last == "exit code 1: stopped before the end; the same command continues"
    assert not target.presences()
    assert "Traceback" not in driver.output
    assert "rpc_client" not in driver.output


def hit_both(target: Target, driver: Driver) -> None:
    """A worker and the driver at once."""
    driver.workers()[0].kill()
    hit_driver(target, driver)


def stop_once(number: int, group: bool) -> Callable[[Target, Driver], None]:
    """Running stages are finished; waiting stages are not started.

    `group`: a terminal, `timeout` and many job schedulers signal the driver's whole group.
    """

    def stop(target: Target, driver: Driver) -> None:
        running = target.in_flight()
        driver.signal(number, group=group)
        assert driver.wait() == INTERRUPTED, driver.output
        assert "stopping: the running stages are finished first" in driver.output
        assert "the same command continues" in driver.output
        assert "Traceback" not in driver.output
        assert running <= set(target.committed())
        assert not running & target.leased()
        assert not target.in_flight()

    return stop


def stop_twice(target: Target, driver: Driver) -> None:
    """The running stages are aborted."""
    driver.signal(signal.SIGINT, group=True)
    wait_until(lambda: "stopping:" in driver.output or not driver.running)
    driver.signal(signal.SIGINT, group=True)
    assert driver.wait() == INTERRUPTED, driver.output
    assert "Traceback" not in driver.output
    last = driver.output.splitlines()[-1]
    assert last == "exit code 130: interrupted before the end; the same command continues"


def test_a_sweep_that_is_hit_in_every_way_ends_like_an_unbroken_one(target: Target) -> None:
    """A worker is killed, then the driver; it is run again, interrupted, and run to its end."""
    driver = target.start()
    try:
        target.wait_for(driver, 1)
        hit_worker(target, driver)
        hit_driver(target, driver)
    finally:
        driver.clean()
    survived = target.committed()
    driver = target.start()
    try:
        target.wait_for(driver, len(survived) + 1)
        stop_once(signal.SIGTERM, group=True)(target, driver)
    finally:
        driver.clean()
    now = target.committed()
    assert {key: now.get(key) for key in survived} == survived
    assert target.failed() == []
    target.finish()


@pytest.mark.slow  # every step starts workers anew
def test_a_search_whose_driver_is_killed_ends_like_an_unbroken_one(
    searched_target: Target,
) -> None:
    """In its first batch and in a later step; batches, rungs and the race are worked out again."""
    target = searched_target
    stages = len(target.unbroken["stages"])
    for desired in (2, stages // 2):
        driver = target.start()
        try:
            target.wait_for(driver, desired)
            hit_driver(target, driver)
        finally:
            driver.clean()
    assert target.failed() == []
    target.finish()
    again = target.finish()
    assert f"nothing to train: all {stages} stages were found" in again


WAYS: dict[str, Callable[[Target, Driver], None]] = {
    "kill a worker": hit_worker,
    "kill the driver": hit_driver,
    "kill both": hit_both,
    "kill the head": hit_head,
    **{
        f"{number.name} to the {'group' if group else 'driver'}": stop_once(number, group)
        for number in HANDLED
        for group in (False, True)
    },
    "SIGINT twice": stop_twice,
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_sweep_that_is_hit_once(target: Target, way: str) -> None:
    driver = target.start()
    try:
        target.wait_for(driver, 2)
        WAYS[way](target, driver)
        if way == "kill a worker":
            assert driver.wait() == 0, driver.output
    finally:
        driver.clean()
    assert target.failed() == []
    target.finish()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_before_anything_runs(target: Target, number: int) -> None:
    """While Ray starts, one signal is enough."""
    driver = target.start()
    try:
        wait_until(lambda: len(driver.family()) > 1, driver.output)
        driver.signal(number, group=number == signal.SIGINT)
        assert driver.wait() in (INTERRUPTED, *OF_RAY), driver.output
        assert target.committed() == {}
    finally:
        driver.clean()
    target.finish()


@pytest.mark.slow
def test_a_terminal_that_is_closed(target: Target) -> None:
    """As when an ssh connection breaks: every write to the terminal fails from then on."""
    with Terminal() as terminal:
        driver = target.start(terminal=terminal.inner)
        try:
            target.wait_for(driver, 2)
            running = target.in_flight()
            terminal.close()
            assert driver.wait() == INTERRUPTED, terminal.shown
            assert "stages" in terminal.shown
            assert running <= set(target.committed())
            assert not target.in_flight()
        finally:
            driver.clean()
    assert target.failed() == []
    target.finish()


@pytest.mark.slow
def test_a_driver_that_dies_again_and_again(target: Target) -> None:
    """Each life gets some stages further."""
    for stages in (1, 4, 7):
        driver = target.start()
        try:
            target.wait_for(driver, stages)
            hit_driver(target, driver)
        finally:
            driver.clean()
    assert target.failed() == []
    target.finish()


@pytest.mark.slow
def test_one_of_two_drivers_dies(target: Target) -> None:
    """The other one takes over its stages when their leases have run out, and ends by itself."""
    second = target.start()
    try:
        wait_until(lambda: bool(second.workers()), second.output)
        second.signal(signal.SIGSTOP)  # or it might be through before the first one has begun
        first = target.start()
        try:
            target.wait_for(first, len(target.committed()) + 2)
            hit_driver(target, first)
        finally:
            first.clean()
        second.signal(signal.SIGCONT)
        assert second.wait() == 0, second.output
        assert "4 of 4 trials finished" in second.output
    finally:
        second.clean()
    target.finish()


@pytest.mark.slow
def test_a_worker_that_is_suspended_past_its_lease(target: Target) -> None:
    """Another worker takes over its stage; what the first one computed changes nothing."""
    driver = target.start()
    try:
        target.wait_for(driver, 2)
        worker = driver.workers()[0]
        worker.signal(signal.SIGSTOP)
        time.sleep(3 * TIME_TO_LIVE_S)
        worker.signal(signal.SIGCONT)
        assert driver.wait() == 0, driver.output
        assert "4 of 4 trials finished" in driver.output
    finally:
        driver.clean()
    assert target.failed() == []
    target.finish()


def put_back(away: Path, storage: Path) -> None:
    """Return a folder to its place, where writers may make folders of that name meanwhile."""
    for number in range(1000):
        with suppress(FileNotFoundError):
            storage.rename(storage.with_name(f"made-meanwhile-{number}"))
        with suppress(OSError):
            away.rename(storage)
            return
    pytest.fail("writers were faster each time")


@pytest.mark.slow
def test_a_storage_that_disappears_and_comes_back(target: Target) -> None:
    """As a network file system that is unmounted for some seconds."""
    driver, away = target.start(), target.folder / "away"
    try:
        target.wait_for(driver, 2)
        target.storage.rename(away)
        time.sleep(2)
        put_back(away, target.storage)
        driver.wait()
        assert "Traceback" not in driver.output
    finally:
        driver.clean()
    assert target.failed() == []
    target.finish()
