"""Variance components of a crossed design: orders x seeds, one observation per cell.

    y[i, j] = mu + order[i] + seed[j] + residual[i, j]

with independent random effects. The residual holds the interaction of order and seed, which one
observation per cell cannot tell from noise. Searle, Casella and McCulloch 1992, chapter 4.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

ROUNDING = 1e-12
"""Relative range below which values are equal: means over orders differ in their last bits."""


@dataclass(frozen=True, slots=True)
class Components:
    """Mean squares of I orders x J seeds, and the variances that they estimate."""

    orders: int
    """I, at least 2."""
    seeds: int
    """J, at least 2."""
    mean_square_order: float
    """J sum_i (mean of order i - mean)^2 / (I - 1); its expectation is J v_order + v_residual."""
    mean_square_seed: float
    """I sum_j (mean of seed j - mean)^2 / (J - 1); its expectation is I v_seed + v_residual."""
    mean_square_residual: float
    """What both leave, over (I - 1)(J - 1); its expectation is v_residual."""

    @property
    def order(self) -> float:
        """Variance due to the order. An estimate below 0 is set to 0, as is usual."""
        return max(0.0, (self.mean_square_order - self.mean_square_residual) / self.seeds)

    @property
    def seed(self) -> float:
        """Variance due to the seed, floored at 0 likewise."""
        return max(0.0, (self.mean_square_seed - self.mean_square_residual) / self.orders)

    @property
    def residual(self) -> float:
        """Variance that is left, interaction included."""
        return self.mean_square_residual

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """(order, seed, residual) as shares of their sum; None if nothing varies."""
        total = self.order + self.seed + self.residual
        if total <= 0.0:
            return None
        return self.order / total, self.seed / total, self.residual / total


def components(grid: Values) -> Components:
    """Components of a complete (I, J) grid. Raises ValueError below 2 x 2."""
    if grid.ndim != 2 or min(grid.shape) < 2:
        raise ValueError(f"at least 2 orders x 2 seeds are needed, got shape {grid.shape}")
    i, j = grid.shape
    if np.ptp(grid) <= ROUNDING * np.abs(grid).max():  # else shares of rounding errors
        return Components(i, j, 0.0, 0.0, 0.0)
    mean = grid.mean()
    by_order = grid.mean(axis=1)  # (I,)
    by_seed = grid.mean(axis=0)  # (J,)
    residual = grid - by_order[:, None] - by_seed[None, :] + mean  # (I, J)
    return Components(
        orders=i,
        seeds=j,
        mean_square_order=float(j * ((by_order - mean) ** 2).sum() / (i - 1)),
        mean_square_seed=float(i * ((by_seed - mean) ** 2).sum() / (j - 1)),
        mean_square_residual=float((residual**2).sum() / ((i - 1) * (j - 1))),
    )


def crossed(
    values: Values, orders: Sequence[Hashable], seeds: Sequence[Hashable]
) -> Values | None:
    """The values as an (I, J) grid, or None unless every order met every seed exactly once."""
    row = {order: i for i, order in enumerate(dict.fromkeys(orders))}
    column = {seed: j for j, seed in enumerate(dict.fromkeys(seeds))}
    cells = {(row[o], column[s]): v for o, s, v in zip(orders, seeds, values, strict=True)}
    if not len(cells) == len(values) == len(row) * len(column):
        return None
    grid = np.empty((len(row), len(column)))
    for cell, value in cells.items():
        grid[cell] = value
    return grid
