"""Exit codes of the command line."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a command of `clmethods`. Scripts depend on the values: they never change."""

    OK = 0
    FAILED = 1
    INVALID_INPUT = 2
    GATE_FAILED = 5
    """3 and 4 have other meanings in `sweeps`, so that a code has one meaning in both."""

    @property
    def meaning(self) -> str:
        """Meaning for users; the table in clmethods/README.md contains the same texts."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done; of `evaluate`: the stored metrics are reproduced; of `predict`: all "
    "images are predicted",
    ExitCode.FAILED: "the computation failed (data, weights, divergence); of `evaluate`: the "
    "metrics differ; of `predict`: some images cannot be read, the others are predicted",
    ExitCode.INVALID_INPUT: "an input was refused; of `evaluate`: the metrics cannot be compared",
    ExitCode.GATE_FAILED: "of `extend`: the extended model violates --max-old-drop or --min-new; "
    "the old model is unchanged",
}
