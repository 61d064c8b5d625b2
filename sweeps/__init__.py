"""Distributed sweeps over continual-learning runs: planning, execution, storage, analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.api import LoadedSweeps, load

__all__ = ["LoadedSweeps", "load"]


def __getattr__(name: str) -> Any:
    """Import `load` and `LoadedSweeps` at their first use, so that the package imports fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sweeps import api

    return getattr(api, name)
