"""Watch over Ray's control service. Without it a driver would wait a minute, then abort."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from types import TracebackType

EVERY_S = 1.0
REFUSED_S = 5.0
"""Seconds of silence after which a service counts as lost if its host refuses connections, because
its process has ended."""
SILENT_S = 30.0
"""Seconds of silence if the host does not answer at all, because a network may pause."""


@final
class HeadWatch:
    """Calls `lost` once, in a separate thread, when the control service is gone."""

    def __init__(
        self,
        address: str,
        lost: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address`: HOST:PORT of the control service."""
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._lost, self._clock = lost, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="head-watch")

    def __enter__(self) -> HeadWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()

    def _watch(self) -> None:
        answered = self._clock()
        while not self._stop.wait(EVERY_S):
            try:
                socket.create_connection(self._place, timeout=EVERY_S * 5).close()
            except ConnectionRefusedError:
                limit = REFUSED_S
            except OSError:
                limit = SILENT_S
            else:
                answered = self._clock()
                continue
            if self._clock() - answered >= limit and not self._stop.is_set():
                self._lost()
                return
