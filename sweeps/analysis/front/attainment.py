"""Fronts of single runs: the attainment of the front over orders and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from clmethods.metrics import Direction
from sweeps.analysis.front.dominance import front, gains
from sweeps.analysis.trials.replicates import Replicates
from sweeps.analysis.trials.run_blocks import blocks

Values = npt.NDArray[np.float64]


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
