"""Exit codes of the command line, and the last line of a run that did not end with 0."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a command of `sweeps`. Scripts depend on the values, so they never change."""

    OK = 0
    FAILED = 1
    INVALID_INPUT = 2
    BUDGET_USED = 3
    FILES_LEFT_OUT = 4
    INTERRUPTED = 130
    """128 + SIGINT, as of a shell."""

    @property
    def meaning(self) -> str:
        """Meaning for users; the table in sweeps/README.md contains the same texts."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "every trial is finished or was stopped early",
    ExitCode.FAILED: "trials failed, or the run was stopped (storage full or out of reach, "
    "cluster lost); of `select`: nothing to choose; of `verify`: a stage has other bits; "
    "of `dashboard`: optuna-dashboard is not installed",
    ExitCode.INVALID_INPUT: "an input was refused; nothing was started",
    ExitCode.BUDGET_USED: "the budget is used up",
    ExitCode.FILES_LEFT_OUT: "of a command that reads: damaged or contradicting files were left "
    "out, so that numbers may be missing or differ; the files are named",
    ExitCode.INTERRUPTED: "interrupted by a signal; the same command continues",
}

STOPPED_TEXT = "stopped before the end; the same command continues"
INTERRUPTED_TEXT = "interrupted before the end; the same command continues"
REFUSED_TEXT = "an input was refused"


def exit_code_line(code: int, meaning: str) -> str:
    """Return the last line of a run, with its exit code.

    The line contains the code because `ray submit` replaces every nonzero code by 1.
    """
    return f"exit code {int(code)}: {meaning}"
