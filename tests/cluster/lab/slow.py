"""Slow hosts: processes are stopped for a fraction of the time.

Tests that hit a sweep in its middle hold it back with `paced`: on a fast machine it would be over
before the fault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.cluster.lab.host import Host

PERIOD_S = 1.0
TRIALS = "ray::"
"""In the command line of every process that holds a trial."""


@contextmanager
def slow(hosts: Sequence[Host], share: float, name: str = "") -> Iterator[None]:
    """Let processes whose command line contains `name` run for this share of the time only.

    It stands for an overcommitted machine, or for slower processors; the network is as fast as
    before. Kernels with `sch_netem` could delay packets, but not every kernel has it.
    """

    def throttle(over: threading.Event) -> None:
        while not over.is_set():
            _pause(hosts, name, PERIOD_S * (1 - share), over)
            over.wait(PERIOD_S * share)

    with _in_thread(throttle):
        yield


@contextmanager
def paced(
    hosts: Callable[[], Iterable[Host]], finished: Callable[[], int], per_second: float
) -> Iterator[None]:
    """Stop the processes of trials while more stages are finished than `per_second` allows.

    They run for a moment in every second, so that leases are renewed.
    """

    def hold(over: threading.Event) -> None:
        started = time.monotonic()
        while not over.wait(PERIOD_S / 10):
            if finished() > per_second * (time.monotonic() - started):
                _pause(list(hosts()), TRIALS, PERIOD_S, over)

    with _in_thread(hold):
        yield


def _pause(hosts: Sequence[Host], name: str, seconds: float, over: threading.Event) -> None:
    for host in hosts:
        host.freeze(name)
    over.wait(seconds)
    for host in hosts:
        host.thaw()


@contextmanager
def _in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work` beside the block; its argument is set when the block ends."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work, over)
        try:
            yield
        finally:
            over.set()
            running.result()
