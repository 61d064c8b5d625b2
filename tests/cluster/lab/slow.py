"""A slow host: its processes are stopped for most of every period."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.lab.host import Host

PERIOD_S = 0.5


@contextmanager
def slow(host: Host, share: float = 0.25) -> Iterator[None]:
    """Let the processes of a host run for this share of the time only, for the length of a block.

    It stands for an overcommitted machine; the network is as fast as before. Kernels with
    `sch_netem` could delay packets, but not every kernel has it.
    """
    over = threading.Event()

    def throttle() -> None:
        while not over.is_set():
            host.freeze()
            over.wait(PERIOD_S * (1 - share))
            host.thaw()
            over.wait(PERIOD_S * share)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
