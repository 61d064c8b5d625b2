"""Figures of configurations run by run, as the rules of a search take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum, isfinite

Cell = tuple[str, int]
"""(order_id, seed): one replicate."""
Run = Mapping[str, float | None]
"""Metrics of one run, from validation; None where one is undefined. A run that failed: `{}`."""
Scores = Mapping[str, Mapping[Cell, Run]]
"""Runs by config_id and cell."""


def one_set_of_cells(scores: Scores) -> tuple[Cell, ...]:
    """The cells that every configuration has, sorted.

    Raises ValueError, naming the missing ones, unless all configurations have the same.
    """
    required = {cell for runs in scores.values() for cell in runs}
    lacking = [
        f"{config_id} lacks {', '.join(map(cell_name, sorted(missing)))}"
        for config_id, runs in sorted(scores.items())
        if (missing := required - runs.keys())
    ]
    if lacking:
        raise ValueError(
            f"configurations are compared over the same orders and seeds: {'; '.join(lacking)}"
        )
    return tuple(sorted(required))


def cell_name(cell: Cell) -> str:
    """A cell for people."""
    return f"order {cell[0]} with seed {cell[1]}"


def known(run: Run, metric: str) -> float | None:
    """A metric of a run; None if the run failed, or if it is undefined or not finite."""
    value = run.get(metric)
    return value if value is not None and isfinite(value) else None


def mean(values: Iterable[float]) -> float:
    """The mean, exact up to its own rounding: it does not depend on the order of the values."""
    found = list(values)
    return fsum(found) / len(found)
