"""Progress within a task, on stderr: one changing line in a terminal, few lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO, final

if TYPE_CHECKING:
    from clmethods.config import StageSpec

EVERY_S = 15.0
"""Seconds between two lines if stderr is not a terminal; a short task prints none."""


@final
class EpochProgress:
    """Shows the finished epochs of the stage that is trained."""

    def __init__(
        self,
        epochs: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._epochs, self._clock = epochs, clock
        self._stream = stream or sys.stderr
        self._next = clock() + EVERY_S

    def show(self, stage: StageSpec, done: int) -> None:
        """Show that `done` epochs of a stage are finished."""
        text = f"stage {stage.position + 1}: epoch {done} of {self._epochs}"
        if self._stream.isatty():
            erase = "\r\033[K"
            self._stream.write(f"{erase}{text}" if done < self._epochs else erase)
            self._stream.flush()
        elif self._clock() >= self._next and done < self._epochs:
            self._next = self._clock() + EVERY_S
            self._stream.write(f"{text}\n")
            self._stream.flush()
