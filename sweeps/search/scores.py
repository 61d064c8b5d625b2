"""Metrics of configurations by replicate, the input of rungs and races."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum, isfinite

Cell = tuple[str, int]
"""Replicate: (order_id, seed)."""
Run = Mapping[str, float | None]
"""Metrics of one run on validation; None for an undefined metric, `{}` for a failed run."""
Scores = Mapping[str, Mapping[Cell, Run]]
"""Metrics of runs by config_id and cell."""


def one_set_of_cells(scores: Scores) -> tuple[Cell, ...]:
    """Return the cells that all configurations share, sorted.

    Raises:
        ValueError: Unless all configurations have the same cells. The message names the missing
            ones.
    """
    required = {cell for runs in scores.values() for cell in runs}
    lacking = [
        f"{config_id} lacks {', '.join(map(cell_name, sorted(missing)))}"
        for config_id, runs in sorted(scores.items())
        if (missing := required - runs.keys())
    ]
    if lacking:
        raise ValueError(
            f"configurations must have the same orders and seeds: {'; '.join(lacking)}"
        )
    return tuple(sorted(required))


def cell_name(cell: Cell) -> str:
    """Return the description of a cell for messages."""
    return f"order {cell[0]} with seed {cell[1]}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which gets an `s` unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def known(run: Run, metric: str) -> float | None:
    """Return a metric of a run; None if the run failed or the value is missing or not finite."""
    value = run.get(metric)
    return value if value is not None and isfinite(value) else None


def mean(values: Iterable[float]) -> float:
    """Return the mean, rounded once, so that it does not depend on the order of the values."""
    numbers = list(values)
    return fsum(numbers) / len(numbers)
