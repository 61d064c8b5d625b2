"""Variance components of a crossed design: orders x seeds with one observation per cell.

    y[i, j] = mu + order[i] + seed[j] + residual[i, j]

with independent random effects. The residual contains the interaction of order and seed, because
one observation per cell cannot separate the interaction from noise. Reference: Searle, Casella and
McCulloch 1992, chapter 4.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

ROUNDING = 1e-12
"""Relative range below which values count as equal; means over orders have rounding errors."""


@dataclass(frozen=True, slots=True)
class Components:
    """Mean squares of I orders x J seeds and the variance components that they estimate."""

    orders: int
    """Number of orders I, at least 2."""
    seeds: int
    """Number of seeds J, at least 2."""
    mean_square_order: float
    """J sum_i (mean of order i - mean)^2 / (I - 1); its expectation is J v_order + v_residual."""
    mean_square_seed: float
    """I sum_j (mean of seed j - mean)^2 / (J - 1); its expectation is I v_seed + v_residual."""
    mean_square_residual: float
    """Residual sum of squares over (I - 1)(J - 1); its expectation is v_residual."""

    @property
    def order(self) -> float:
        """Variance due to the order. A negative estimate is set to 0."""
        return max(0.0, (self.mean_square_order - self.mean_square_residual) / self.seeds)

    @property
    def seed(self) -> float:
        """Variance due to the seed. A negative estimate is set to 0."""
        return max(0.0, (self.mean_square_seed - self.mean_square_residual) / self.orders)

    @property
    def residual(self) -> float:
        """Residual variance, which includes the interaction of order and seed."""
        return self.mean_square_residual

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """Shares (order, seed, residual) of the total variance; None if nothing varies."""
        total = self.order + self.seed + self.residual
        if total <= 0.0:
            return None
        return self.order / total, self.seed / total, self.residual / total


def components(grid: Values) -> Components:
    """Return the components of a complete (I, J) grid.

    Raises:
        ValueError: If the grid is smaller than 2 x 2.
    """
    if grid.ndim != 2 or min(grid.shape) < 2:
        raise ValueError(f"at least 2 orders x 2 seeds are needed, got shape {grid.shape}")
    i, j = grid.shape
    if np.ptp(grid) <= ROUNDING * np.abs(grid).max():  # avoid shares of rounding errors
        return Components(i, j, 0.0, 0.0, 0.0)
    order, seed, residual = mean_squares(grid)
    return Components(i, j, float(order), float(seed), float(residual))


def mean_squares(grids: Values) -> Values:
    """Return mean squares of order, seed and residual, shape (3, ...), of grids (..., I, J)."""
    i, j = grids.shape[-2:]
    mean = grids.mean(axis=(-2, -1), keepdims=True)
    by_order = grids.mean(axis=-1, keepdims=True)  # (..., I, 1)
    by_seed = grids.mean(axis=-2, keepdims=True)  # (..., 1, J)
    residual = grids - by_order - by_seed + mean  # (..., I, J)
    return np.stack(
        [
            j * ((by_order - mean) ** 2).sum(axis=(-2, -1)) / (i - 1),
            i * ((by_seed - mean) ** 2).sum(axis=(-2, -1)) / (j - 1),
            (residual**2).sum(axis=(-2, -1)) / ((i - 1) * (j - 1)),
        ]
    )


class Unbalanced(NamedTuple):
    """Variance components of an incomplete design and their weights in the mean of all values."""

    order: float
    seed: float
    residual: float
    order_in_mean: float
    """sum_i n_i^2 / N^2 over the numbers of values per order: 1 / I if they are equal."""
    seed_in_mean: float
    degrees: int
    """Degrees of freedom of the factor with fewer of them."""
    confounded: Literal["order", "seed"] | None
    """Factor whose component is 0 here and part of the residual, as each level has one value."""


def unbalanced(
    values: Values, orders: Sequence[Hashable], seeds: Sequence[Hashable]
) -> Unbalanced | None:
    """Return the components of an incomplete design by Henderson 1953, method 3.

    Negative estimates are set to 0. The sum of squares that the orders add to a fit of the seeds
    alone has the expectation

        (r - J) v_residual + (N - sum_j sum_i n_ij^2 / n_j) v_order

    where r is the rank of the additive fit: I + J - K if orders and seeds split into K groups
    without a common cell. The sum of squares of the seeds has the corresponding expectation, and
    the residual one has (N - r) v_residual.

    If each level of a factor has one value, as each seed of a spread design with as many seeds as
    runs, the effect of this factor cannot be separated from the residual. The design is then
    one-way, with the other factor: its component comes from the mean squares between and within
    the levels, and the residual includes the confounded factor.

    Return None if the values identify neither, as in a 2 x 2 design without one run.
    """
    row = {order: i for i, order in enumerate(dict.fromkeys(orders))}
    column = {seed: j for j, seed in enumerate(dict.fromkeys(seeds))}
    of_row = np.eye(len(row))[[row[o] for o in orders]]  # (N, I)
    of_column = np.eye(len(column))[[column[s] for s in seeds]]  # (N, J)
    count = of_row.T @ of_column  # (I, J)
    n, i, j = len(values), *count.shape
    if min(i, j) < 2 or n == i == j:
        return None
    by_order, by_seed = count.sum(axis=1), count.sum(axis=0)
    in_mean = float((by_order**2).sum()) / n**2, float((by_seed**2).sum()) / n**2
    if j == n:
        order, residual = _one_way(of_row, values)
        return Unbalanced(order, 0.0, residual, *in_mean, i - 1, "seed")
    if i == n:
        seed, residual = _one_way(of_column, values)
        return Unbalanced(0.0, seed, residual, *in_mean, j - 1, "order")
    both = np.hstack([of_row, of_column])  # (N, I + J)
    rank = int(np.linalg.matrix_rank(both))
    if min(n - rank, rank - i, rank - j) < 1:
        return None
    unexplained = _unexplained(both, values)
    residual = unexplained / (n - rank)
    added_by_order = _unexplained(of_column, values) - unexplained
    added_by_seed = _unexplained(of_row, values) - unexplained
    weight_order = n - float((count**2 / by_seed[None, :]).sum())
    weight_seed = n - float((count**2 / by_order[:, None]).sum())
    return Unbalanced(
        max(0.0, (added_by_order - (rank - j) * residual) / weight_order),
        max(0.0, (added_by_seed - (rank - i) * residual) / weight_seed),
        residual,
        *in_mean,
        rank - max(i, j),
        None,
    )


def _one_way(levels: Values, values: Values) -> tuple[float, float]:
    """Return the components between and within the K levels of a factor, indicators (N, K)."""
    n, k = levels.shape
    within = _unexplained(levels, values)
    between = float(((values - values.mean()) ** 2).sum()) - within
    residual = within / (n - k)
    weight = n - float((levels.sum(axis=0) ** 2).sum()) / n
    return max(0.0, (between - (k - 1) * residual) / weight), residual


def _unexplained(design: Values, values: Values) -> float:
    """Return the residual sum of squares of a least-squares fit of `values` on `design`."""
    fit = np.linalg.lstsq(design, values, rcond=None)[0]
    return float(((values - design @ fit) ** 2).sum())


def crossed(
    values: Values, orders: Sequence[Hashable], seeds: Sequence[Hashable]
) -> Values | None:
    """Return the values as an (I, J) grid, or None unless each cell has exactly one value."""
    row = {order: i for i, order in enumerate(dict.fromkeys(orders))}
    column = {seed: j for j, seed in enumerate(dict.fromkeys(seeds))}
    cells = {(row[o], column[s]): v for o, s, v in zip(orders, seeds, values, strict=True)}
    if not len(cells) == len(values) == len(row) * len(column):
        return None
    grid = np.empty((len(row), len(column)))
    for cell, value in cells.items():
        grid[cell] = value
    return grid
