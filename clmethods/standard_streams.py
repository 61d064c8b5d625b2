"""Standard streams that keep a command running when they are closed or their reader ends."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_GONE = (errno.EPIPE, errno.EIO)
"""Error numbers of writes to a pipe without a reader or to a terminal that is gone."""


def open_missing_streams() -> None:
    """Open the null device in place of missing descriptors 0 to 2 (`COMMAND >&-`).

    Otherwise the first file or connection that is opened takes such a number, and what a library
    prints is written into it.
    """
    lowest = os.open(os.devnull, os.O_RDWR)
    while lowest <= 2:
        os.set_inheritable(lowest, True)
        lowest = os.open(os.devnull, os.O_RDWR)
    os.close(lowest)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


@contextmanager
def output_that_may_end() -> Iterator[None]:
    """Go on without output where the reader of stdout or stderr goes away (`COMMAND | head`).

    Python would end the program at its next line of output, and with it what it trains.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _tolerant(sys.stdout, 1), _tolerant(sys.stderr, 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class _TolerantFile(io.FileIO):
    """A descriptor that is led to the null device when nobody reads it any more."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return super().write(data)


def _tolerant(stream: TextIO, descriptor: int) -> TextIO:
    """Return the stream of a descriptor made tolerant; another stream stays as it is."""
    try:
        if stream.fileno() != descriptor:
            return stream
    except (OSError, ValueError):  # a buffer in memory, as in tests and notebooks
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_TolerantFile(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )
