"""Imports of a Ray worker before its first stage, and ways to make them faster."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

HOOK = f"{__name__}.load_tune"
"""Name under which Ray calls the setup function of a worker."""


def load_tune() -> None:
    """Import the modules that every worker needs."""
    with _nothing_to_collect():
        import ray.tune  # noqa: F401


@cache
def load_torch() -> None:
    """Import the training modules, once per worker, before any stage is timed."""
    with _nothing_to_collect():
        import clmethods.evaluate
        import clmethods.training.stage  # noqa: F401


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Disable garbage collection during imports, and exclude the imported objects from it.

    Modules create millions of objects that are never freed. Collecting them during the imports
    takes a quarter of the start time, and later 0.25 s for every trial.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
