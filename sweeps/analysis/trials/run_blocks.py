"""Values of many configurations in one array, and the runs that they have in common.

Means over different orders and seeds are not comparable: configurations are compared over cells
that all of them have.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sweeps.analysis.trials.replicates import ANY_ORDER, Replicates
from sweeps.statistics.cell_designs import Cells

Values = npt.NDArray[np.float64]

FEWEST = 3
"""Orders and seeds in common that are enough to compare configurations with more runs, too."""


class Blocks(NamedTuple):
    """Values of all configurations of a sweep in one array."""

    values: Values  # (C, M, I, J): configuration, objective, order, seed; NaN if missing
    orders: tuple[str, ...]
    seeds: tuple[Hashable, ...]


def blocks(configurations: Sequence[Replicates], names: Sequence[str]) -> Blocks:
    """Return the values of all configurations over all orders and seeds that occur.

    A run of a method that does not depend on the order counts for every order.
    """
    cells = list(
        dict.fromkeys(cell for configuration in configurations for cell in configuration.cells)
    )
    orders = tuple(dict.fromkeys(o for o, _ in cells if o != ANY_ORDER)) or (ANY_ORDER,)
    seeds = tuple(dict.fromkeys(s for _, s in cells))
    table = np.full((len(configurations), len(names), len(orders), len(seeds)), np.nan)
    row = {order: i for i, order in enumerate(orders)}
    column = {seed: j for j, seed in enumerate(seeds)}
    for c, configuration in enumerate(configurations):
        for m, name in enumerate(names):
            for (order, seed), value in configuration.metrics[name].items():
                place = row[order] if order in row else slice(None)
                table[c, m, place, column[seed]] = value
    return Blocks(table, orders, seeds)


class CommonValues(NamedTuple):
    """Values of the compared configurations in the cells that all of them have."""

    compared: tuple[int, ...]
    """Indices of the configurations that are compared."""
    cells: Cells
    """N cells (order, seed); with fixed orders, one per seed."""
    values: Values  # (C, M, N)
    orders: int
    """Number of orders in common."""
    seeds: int


def common_values(
    configurations: Sequence[Replicates], names: Sequence[str], *, fixed_orders: bool = False
) -> CommonValues | None:
    """Return the values over common cells; None if there is no common cell.

    All configurations with a run are compared if they share all of their runs, or at least
    `FEWEST` orders and seeds. Otherwise, as after a race, those that were requested most often
    are: runs that failed count as requested, so that a failure excludes no configuration. With
    `fixed_orders`, the orders are the whole population: the values are means over all orders, one
    per seed.
    """
    grid = blocks(configurations, names)
    known = np.asarray(np.isfinite(grid.values).all(axis=1))  # (C, I, J)
    runs = known.sum(axis=(1, 2))
    compared = np.flatnonzero(runs > 0)
    if len(compared) == 0:
        return None
    common = np.asarray(known[compared].all(axis=0))  # (I, J)
    orders, seeds = (len(set(axis.tolist())) for axis in np.nonzero(common))
    enough = seeds >= FEWEST and (orders >= FEWEST or fixed_orders)
    if not enough and common.sum() < runs.max():
        requested = np.array([_requested(configurations[c], grid) for c in compared.tolist()])
        compared = compared[requested == requested.max()]
        common = np.asarray(known[compared].all(axis=0))
    orders, seeds = (len(set(axis.tolist())) for axis in np.nonzero(common))
    values = grid.values[compared]
    if fixed_orders:
        complete = np.asarray(common.all(axis=0))  # (J,)
        kept = [seed for seed, whole in zip(grid.seeds, complete, strict=True) if whole]
        cells: Cells = [("all", seed) for seed in kept]
        values = values[..., complete].mean(axis=2)
        seeds = len(kept)
    else:
        cells = [(grid.orders[i], grid.seeds[j]) for i, j in np.argwhere(common)]
        values = values[:, :, common]
    if not cells:
        return None
    return CommonValues(tuple(compared.tolist()), cells, values, orders, seeds)


def _requested(configuration: Replicates, grid: Blocks) -> int:
    """Return the number of runs, with those that failed; a run without an order counts for all."""
    runs = len(dict.fromkeys([*configuration.cells, *configuration.absent]))
    return runs * len(grid.orders) if configuration.order_free else runs
