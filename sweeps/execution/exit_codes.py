"""Exit codes of the command line, and the last line of a run that did not end with 0."""

from __future__ import annotations

FAILED = 1
USER_FAULT = 2
BUDGET_USED = 3
INTERRUPTED = 130

STOPPED_TEXT = "stopped before the end; the same command continues"
INTERRUPTED_TEXT = "interrupted before the end; the same command continues"
REFUSED_TEXT = "an input was refused"


def exit_code_line(code: int, meaning: str) -> str:
    """Return the last line of a run, with its exit code.

    The line contains the code because `ray submit` replaces every nonzero code by 1.
    """
    return f"exit code {code}: {meaning}"
