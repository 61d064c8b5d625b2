"""How sure it is that a configuration is on the front, and what a front reaches run by run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.front.pareto import front, gains
from sweeps.analysis.runs.replicates import ANY_ORDER, Replicates

Values = npt.NDArray[np.float64]

DRAWS = 2000


class Blocks(NamedTuple):
    """All values of a sweep in one array."""

    values: Values  # (C, M, I, J): configuration, objective, order, seed; NaN where there is none
    orders: tuple[str, ...]
    seeds: tuple[Hashable, ...]


def blocks(found: Sequence[Replicates], names: Sequence[str]) -> Blocks:
    """The values of every configuration over the orders and seeds that any of them has.

    A run that cannot depend on the order counts for every order.
    """
    cells = list(dict.fromkeys(cell for one in found for cell in one.cells))
    orders = tuple(dict.fromkeys(o for o, _ in cells if o != ANY_ORDER)) or (ANY_ORDER,)
    seeds = tuple(dict.fromkeys(s for _, s in cells))
    table = np.full((len(found), len(names), len(orders), len(seeds)), np.nan)
    row = {order: i for i, order in enumerate(orders)}
    column = {seed: j for j, seed in enumerate(seeds)}
    for c, one in enumerate(found):
        for m, name in enumerate(names):
            for (order, seed), value in one.metrics[name].items():
                place = row[order] if order in row else slice(None)
                table[c, m, place, column[seed]] = value
    return Blocks(table, orders, seeds)


def front_probability(
    found: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    *,
    fixed_orders: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Values:
    """Share of bootstrap draws in which each configuration is on the front of the means, (C,).

    A draw takes orders with replacement and, independently, seeds with replacement (the pigeonhole
    bootstrap, Owen 2007), the same ones for all configurations, so that what they share cancels.
    With `fixed_orders` the orders are all there are and stay as they are. Configurations that are
    not eligible, or lack an objective, have 0 and push nobody off. A design of one order and one
    seed has nothing to draw: the shares are 0 and 1, and say nothing about luck.
    """
    names, directions = list(objectives), list(objectives.values())
    eligible = [c for c, one in enumerate(found) if one.eligible]
    held = blocks([found[c] for c in eligible], names)
    _, _, i, j = held.values.shape
    share = np.zeros(len(found))
    if not eligible or 0 in (i, j):
        return share
    known = np.isfinite(held.values)
    filled = np.where(known, held.values, 0.0)
    generator = np.random.default_rng(derive_seed(seed, "front_probability", draws))
    hits = np.zeros(len(eligible))
    draws = draws if max(i, j) > 1 else 1  # one cell: every draw is the same
    drawn: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for _ in range(draws):
        of_order = (1,) * i if fixed_orders else _counts(generator, i)
        drawn[of_order, _counts(generator, j)] += 1
    for (of_order, of_seed), times in drawn.items():  # few orders and seeds: few different ones
        weight = np.outer(of_order, of_seed)  # (I, J)
        total = (known * weight).sum(axis=(2, 3))  # (C, M)
        with np.errstate(invalid="ignore"):
            means = (filled * weight).sum(axis=(2, 3)) / total  # NaN: none of its runs was drawn
        hits += times * front(means, directions)
    share[eligible] = hits / draws
    return share


def _counts(generator: np.random.Generator, n: int) -> tuple[int, ...]:
    """How often each of n is drawn in n draws with replacement."""
    return tuple(np.bincount(generator.integers(0, n, n), minlength=n).tolist())


def cell_fronts(found: Sequence[Replicates], objectives: Mapping[str, Direction]) -> list[Values]:
    """The front of each (order, seed) cell that has one, as gains (K, M): more is better."""
    directions = list(objectives.values())
    held = blocks([one for one in found if one.eligible], list(objectives))
    c, m, i, j = held.values.shape
    cells = held.values.reshape(c, m, i * j).transpose(2, 0, 1)  # (IJ, C, M)
    fronts = [gains(points[front(points, directions)], directions) for points in cells]
    return [gain for gain in fronts if len(gain)]


def attainment(
    found: Sequence[Replicates], objectives: Mapping[str, Direction], share: float
) -> Values:
    """Corners (K, 2) of what the sweep reaches in at least `share` of its (order, seed) cells.

    Each cell has a front of its own; the curve bounds the points that the fronts of that share of
    the cells dominate or touch: the empirical attainment function of Fonseca and Fleischer 2005 at
    one level. 0.5 is the median front; 1.0 holds in every cell. Corners run from the best to the
    worst in the first objective. Raises ValueError unless there are two objectives and
    0 < share <= 1.
    """
    if len(objectives) != 2 or not 0.0 < share <= 1.0:
        raise ValueError(
            f"two objectives and 0 < share <= 1 are needed, got {list(objectives)} and {share}"
        )
    directions = list(objectives.values())
    fronts = cell_fronts(found, objectives)
    if not fronts:
        return np.empty((0, 2))
    least = int(np.ceil(share * len(fronts) - 1e-9))
    first = np.unique(np.concatenate(fronts)[:, 0])
    reached = np.array(  # best second objective of each cell among points this good in the first
        [[gain[gain[:, 0] >= x, 1].max(initial=-np.inf) for gain in fronts] for x in first]
    )
    second = -np.sort(-reached, axis=1)[:, least - 1]  # reached by `least` of the cells
    corners = np.stack([first, second], axis=1)
    corners = corners[front(corners, ["max", "max"])]
    corners = corners[np.lexsort((-corners[:, 1], -corners[:, 0]))]
    return gains(np.unique(corners, axis=0)[::-1], directions)
