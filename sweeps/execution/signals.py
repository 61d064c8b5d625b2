"""Handlers of Ctrl-C, SIGTERM and SIGHUP: the first signal drains, the second one interrupts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Handled signals. SIGHUP is sent when a terminal or an ssh connection is closed."""


@contextmanager
def draining(drain: Callable[[], bool]) -> Iterator[None]:
    """Call `drain` at every signal; if it returns False, KeyboardInterrupt ends the block.

    A handler may run at any point, also during a write to the terminal, so `drain` must only set a
    flag. If SIGHUP is ignored (`nohup`), it stays ignored.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        if not drain():
            raise KeyboardInterrupt

    handled = [n for n in HANDLED if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_terminal() -> None:
    """Discard further output if it went to a terminal, because that terminal is closed.

    Every write to it would fail, and a failed progress line must not end a sweep.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if os.isatty(stream) or _is_hung_up(stream):
            os.dup2(nowhere, stream)
    os.close(nowhere)


def _is_hung_up(stream: int) -> bool:
    """Return True if the stream is a terminal whose other end was closed.

    `isatty` returns False for such a stream.
    """
    try:
        return os.readlink(f"/proc/self/fd/{stream}").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
