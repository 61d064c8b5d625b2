"""Progress that a person can read: a live line in a terminal, now and then a line otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO, final

LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 15.0


@final
@dataclass(slots=True)
class Tally:
    """What has happened so far."""

    trials: int
    stages: int
    finished: int = 0
    failed: int = 0
    active: int = 0
    trained: int = 0
    """Stages trained by this run of the sweep."""
    stage_seconds: float = 0.0


@final
class Progress:
    """Prints the tally; everything that the sweep says while it runs goes through here."""

    def __init__(
        self,
        tally: Tally,
        stream: TextIO = sys.stdout,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tally = tally
        self._stream, self._clock = stream, clock
        self._live = stream.isatty()
        self._start = clock()
        self._next = self._start + (LIVE_EVERY_S if self._live else PLAIN_EVERY_S)

    def tick(self) -> None:
        """Print a line if it is time for one."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (LIVE_EVERY_S if self._live else PLAIN_EVERY_S)
        if self._live:
            self._stream.write(f"\r\x1b[K{self.line()}")
        else:
            self._stream.write(f"{self.line()}\n")
        self._stream.flush()

    def say(self, message: str) -> None:
        """Print a sentence of its own."""
        self._stream.write(f"\r\x1b[K{message}\n" if self._live else f"{message}\n")
        self._stream.flush()

    def line(self) -> str:
        """`stages 57/152 · trials 12/38 · 2 running · 1 failed · 0:48, about 1:20 left`."""
        tally, elapsed = self.tally, self._clock() - self._start
        parts = [
            f"stages {tally.trained}/{tally.stages}",
            f"trials {tally.finished}/{tally.trials}",
            f"{tally.active} running",
        ]
        if tally.failed:
            parts.append(f"{tally.failed} failed")
        spent = clock_text(elapsed)
        if 0 < tally.trained < tally.stages:
            left = elapsed / tally.trained * (tally.stages - tally.trained)
            spent += f", about {clock_text(left)} left"
        return " · ".join([*parts, spent])


def clock_text(seconds: float) -> str:
    """`4:05`, or `1:02:09` from an hour on."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
