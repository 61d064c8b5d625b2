"""Numbers of frozen matrices at each task and of importance samples, for training and planning."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

Rounding = Literal["floor", "nearest", "ceil"]

TOLERANCE = 1e-9
"""Tolerance of rounding: 0.29 * 100, which is 28.999999999999996, is rounded down to 29."""


def matrices_per_task(threshold: float, matrices: int, rounding: Rounding = "floor") -> int:
    """Return k, the fraction `threshold` of `matrices` as an integer (docs/method.md section 4.3).

    `nearest` rounds halves up.
    """
    share = threshold * matrices
    if rounding == "ceil":
        return math.ceil(share - TOLERANCE)
    return math.floor(share + (0.5 if rounding == "nearest" else 0.0) + TOLERANCE)


@lru_cache(maxsize=4096)  # a plan needs it at every task of every configuration
def frozen_forecast(
    threshold: float,
    matrices: int,
    tasks: int,
    rounding: Rounding = "floor",
    *,
    relative: bool = False,
) -> tuple[int, ...]:
    """Return the number of frozen matrices while each task is trained; the first entry is 0.

    After each task, the fraction `threshold` of all matrices is frozen, or, if `relative`, of the
    matrices that are not frozen yet. Frozen matrices stay frozen. If fewer matrices remain, all of
    them are frozen.
    """
    frozen = [0]
    while len(frozen) < tasks:
        remaining = matrices - frozen[-1]
        k = matrices_per_task(threshold, remaining if relative else matrices, rounding)
        frozen.append(frozen[-1] + min(k, remaining))
    return tuple(frozen)


def last_epoch_samples(images: int, batch_size: int, epochs: int, every: int) -> int:
    """Return the number of importance samples in the last epoch of a task.

    One sample is taken every `every` steps, counted from the start of the task. The number is at
    least 1: if the last epoch has no sample, the last sample of the task is used.
    """
    steps = -(-images // batch_size)
    first = (epochs - 1) * steps
    samples = len(range(-(-first // every) * every, epochs * steps, every))
    return max(1, samples)
