"""Helpers of the tests of leases."""

from __future__ import annotations

import time
from collections.abc import Callable

from sweeps.stages.leases import (
    Lease,
    LeaseTable,
)
from sweeps.storage import ObjectStore

KEY = "ab12"
PATIENCE_S = 120.0
"""Seconds that a test waits for an expected event; the machine may be busy."""


class Clock:
    """A clock that advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def names(objects: ObjectStore) -> list[str]:
    return [name.removeprefix(f"leases/{KEY}/") for name in objects.list("leases")]


def stood_still(lease: Lease) -> None:
    """As if nothing of its owner had got through for longer than an observer waits."""
    lease._confirmed = -float("inf")


def abandon(table: LeaseTable, owner: str) -> None:
    """Leave a lease as a killed process leaves it: there, and not beating."""
    assert table.acquire(KEY, owner) is not None
