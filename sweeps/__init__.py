"""Distributed sweeps over continual-learning runs: planning, execution, storage, analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.api import AnalyzedSweep, LoadedSweeps, RunResult, Sweep, load, run

__all__ = ["AnalyzedSweep", "LoadedSweeps", "RunResult", "Sweep", "load", "run"]


def __getattr__(name: str) -> Any:
    """Import the public names at their first use, so that the package imports fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sweeps import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """Return the names of the module with those that are imported at their first use."""
    return sorted({*globals(), *__all__})
