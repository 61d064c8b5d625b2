"""Slow hosts: processes are stopped for a part of every period."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.cluster.lab.host import Host

PERIOD_S = 1.0


@contextmanager
def slow(hosts: Sequence[Host], share: float, name: str = "") -> Iterator[None]:
    """Let processes whose command line contains `name` run for this share of the time only.

    It stands for an overcommitted machine, or for slower processors; the network is as fast as
    before. Kernels with `sch_netem` could delay packets, but not every kernel has it.
    """
    over = threading.Event()

    def throttle() -> None:
        while not over.is_set():
            for host in hosts:
                host.freeze(name)
            over.wait(PERIOD_S * (1 - share))
            for host in hosts:
                host.thaw()
            over.wait(PERIOD_S * share)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
