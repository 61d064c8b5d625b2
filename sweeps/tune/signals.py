"""Ctrl-C and SIGTERM: once to finish the running stages and stop, twice to stop now."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def draining(drain: Callable[[], bool]) -> Iterator[None]:
    """Call `drain` at every signal; where it says False, KeyboardInterrupt ends the block.

    A handler may run in the middle of anything, also of a write to the terminal, so `drain` does
    no more than to remember.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if not drain():
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
