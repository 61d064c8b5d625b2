"""Errors that Tune receives for its trials, kept as objects in this process.

Tune passes a callback the trial but not the error, and writes the error as a pickle into the
folder of the trial. No file of Tune is read back, so the error is recorded when Tune receives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from ray.tune.experiment import Trial

if TYPE_CHECKING:
    from types import TracebackType


@final
class TrialErrors:
    """Last error of each trial. Records errors inside its context."""

    def __init__(self) -> None:
        self._last: dict[str, BaseException | None] = {}
        self._handle_error = Trial.handle_error

    def __enter__(self) -> TrialErrors:
        def handle_error(trial: Trial, exc: BaseException | None = None) -> object:
            self._last[trial.trial_id] = exc
            return self._handle_error(trial, exc)

        Trial.handle_error = handle_error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        Trial.handle_error = self._handle_error

    def last(self, trial: Trial) -> BaseException | None:
        """Return the last error that Tune received for a trial."""
        return self._last.get(trial.trial_id)
