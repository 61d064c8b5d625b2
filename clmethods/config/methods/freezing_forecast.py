"""How many matrices are frozen before which task: pure arithmetic, used to train and to plan."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

Rounding = Literal["floor", "nearest", "ceil"]

TOLERANCE = 1e-9
"""Keeps 0.29 * 100, which is 28.999999999999996, from being rounded down to 28."""


def matrices_per_task(threshold: float, matrices: int, rounding: Rounding = "floor") -> int:
    """k: `threshold`, a fraction, of `matrices`, as a whole number (docs/method.md section 4.3).

    `nearest` rounds halves up.
    """
    share = threshold * matrices
    if rounding == "ceil":
        return math.ceil(share - TOLERANCE)
    return math.floor(share + (0.5 if rounding == "nearest" else 0.0) + TOLERANCE)


@lru_cache(maxsize=4096)  # a plan asks for it at every task of every setting
def frozen_forecast(
    threshold: float,
    matrices: int,
    tasks: int,
    rounding: Rounding = "floor",
    *,
    relative: bool = False,
) -> tuple[int, ...]:
    """Number of frozen matrices in force while each task trains; the first entry is 0.

    Every finished task adds `threshold` of all matrices, or, if `relative`, of those that are not
    frozen yet. Masks are cumulative and never released; when fewer are left, all are frozen.
    """
    frozen = [0]
    while len(frozen) < tasks:
        left = matrices - frozen[-1]
        k = matrices_per_task(threshold, left if relative else matrices, rounding)
        frozen.append(frozen[-1] + min(k, left))
    return tuple(frozen)


def last_epoch_samples(images: int, batch_size: int, epochs: int, every: int) -> int:
    """How many samples of importance a task's last epoch takes, one of every `every` steps.

    Steps are counted through the whole task. At least 1: a task of few steps and rare samples is
    judged by its last one.
    """
    steps = -(-images // batch_size)
    first = (epochs - 1) * steps
    taken = len(range(-(-first // every) * every, epochs * steps, every))
    return max(1, taken)
