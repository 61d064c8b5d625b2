"""Distributed sweeps over continual-learning runs: plan, schedule, store, analyse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.api import Loaded, load

__all__ = ["Loaded", "load"]


def __getattr__(name: str) -> Any:
    """`load` and `Loaded` when they are first used, so that importing the package stays light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sweeps import api as loaded

    return getattr(loaded, name)
