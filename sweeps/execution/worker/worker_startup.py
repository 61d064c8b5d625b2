"""What a worker of Ray loads before its first stage, and how it does so faster."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

HOOK = f"{__name__}.load_tune"
"""As Ray names what a worker calls when it starts."""


def load_tune() -> None:
    """What every worker needs, whatever it then runs."""
    with _nothing_to_collect():
        import ray.tune  # noqa: F401


@cache
def load_torch() -> None:
    """What trains, before any stage is timed; once in a worker."""
    with _nothing_to_collect():
        import clmethods.evaluate
        import clmethods.training.stage  # noqa: F401


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Modules make millions of objects that stay. Searching them for garbage while they are made
    takes a fourth of the start, and again a quarter of a second for every trial: neither is done.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
