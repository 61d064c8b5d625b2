"""Membership probability of the Pareto front, and the attainment of the front over the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.front.pareto import front, gains
from sweeps.analysis.trials.replicates import ANY_ORDER, Replicates

Values = npt.NDArray[np.float64]

DRAWS = 2000
"""Default number of bootstrap draws."""


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


def front_probability(
    configurations: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    *,
    fixed_orders: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Values:
    """Return the share of bootstrap draws in which each configuration is on the front, (C,).

    A draw resamples orders with replacement and, independently, seeds with replacement (pigeonhole
    bootstrap, Owen 2007). All configurations share the draw, so that effects common to all of them
    cancel. The front is that of the means over the drawn cells. With `fixed_orders` the orders are
    the whole population and are not resampled. Configurations that are not eligible, or that lack
    an objective, have probability 0 and dominate nothing. A design of one order and one seed
    cannot be resampled: the result is then 0 or 1 and does not reflect replicate noise.
    """
    names, directions = list(objectives), list(objectives.values())
    eligible = [c for c, configuration in enumerate(configurations) if configuration.eligible]
    grid = blocks([configurations[c] for c in eligible], names)
    _, _, i, j = grid.values.shape
    share = np.zeros(len(configurations))
    if not eligible or 0 in (i, j):
        return share
    known = np.isfinite(grid.values)
    filled = np.where(known, grid.values, 0.0)
    generator = np.random.default_rng(derive_seed(seed, "front_probability", draws))
    hits = np.zeros(len(eligible))
    draws = draws if max(i, j) > 1 else 1  # with one cell all draws are equal
    drawn: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for _ in range(draws):
        order_counts = (1,) * i if fixed_orders else _counts(generator, i)
        drawn[order_counts, _counts(generator, j)] += 1
    for (order_counts, seed_counts), repetitions in drawn.items():  # small designs repeat draws
        weight = np.outer(order_counts, seed_counts)  # (I, J)
        total = (known * weight).sum(axis=(2, 3))  # (C, M)
        with np.errstate(invalid="ignore"):
            means = (filled * weight).sum(axis=(2, 3)) / total  # NaN if no run was drawn
        hits += repetitions * front(means, directions)
    share[eligible] = hits / draws
    return share


def _counts(generator: np.random.Generator, n: int) -> tuple[int, ...]:
    """Return how often each of n items is drawn in n draws with replacement."""
    return tuple(np.bincount(generator.integers(0, n, n), minlength=n).tolist())


def cell_fronts(
    configurations: Sequence[Replicates], objectives: Mapping[str, Direction]
) -> list[Values]:
    """Return the front of each (order, seed) cell that has one, as gains (K, M)."""
    directions = list(objectives.values())
    grid = blocks(
        [configuration for configuration in configurations if configuration.eligible],
        list(objectives),
    )
    c, m, i, j = grid.values.shape
    cells = grid.values.reshape(c, m, i * j).transpose(2, 0, 1)  # (IJ, C, M)
    fronts = [gains(points[front(points, directions)], directions) for points in cells]
    return [gain for gain in fronts if len(gain)]


def attainment(
    configurations: Sequence[Replicates], objectives: Mapping[str, Direction], share: float
) -> Values:
    """Return the corners (K, 2) of the region reached in at least `share` of the cells.

    Each (order, seed) cell has its own front. The curve bounds the points that the fronts of at
    least `share` of the cells dominate or touch: one level of the empirical attainment function of
    Fonseca and Fleischer 2005. 0.5 gives the median front; 1.0 gives what holds in every cell.
    Corners are sorted from the best to the worst value of the first objective.

    Raises:
        ValueError: Unless there are two objectives and 0 < share <= 1.
    """
    if len(objectives) != 2 or not 0.0 < share <= 1.0:
        raise ValueError(
            f"two objectives and 0 < share <= 1 are needed, got {list(objectives)} and {share}"
        )
    directions = list(objectives.values())
    fronts = cell_fronts(configurations, objectives)
    if not fronts:
        return np.empty((0, 2))
    least = int(np.ceil(share * len(fronts) - 1e-9))
    first = np.unique(np.concatenate(fronts)[:, 0])
    reached = np.array(  # per cell: best second objective among points this good in the first
        [[gain[gain[:, 0] >= x, 1].max(initial=-np.inf) for gain in fronts] for x in first]
    )
    second = -np.sort(-reached, axis=1)[:, least - 1]  # reached by `least` of the cells
    corners = np.stack([first, second], axis=1)
    corners = corners[front(corners, ["max", "max"])]
    corners = corners[np.lexsort((-corners[:, 1], -corners[:, 0]))]
    return gains(np.unique(corners, axis=0)[::-1], directions)
