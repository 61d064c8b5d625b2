"""How many matrices are frozen before which task: pure arithmetic, used to train and to plan."""

from __future__ import annotations

import math


def matrices_per_task(threshold: float, matrices: int) -> int:
    """k: how many matrices one task adds to the frozen ones (method.md section 4.3).

    `threshold` is a fraction of all `matrices`, not a limit on a score. The small addend keeps
    0.29 * 100 from being rounded down to 28.
    """
    return math.floor(threshold * matrices + 1e-9)


def frozen_forecast(threshold: float, matrices: int, tasks: int) -> tuple[int, ...]:
    """Number of frozen matrices in force while each task trains; the first entry is 0.

    Masks are cumulative and never released; when fewer than k are left, the rest is frozen.
    """
    k = matrices_per_task(threshold, matrices)
    return tuple(min(position * k, matrices) for position in range(tasks))
