"""Mean squares of rows of values that were measured in the same cells of orders x seeds.

A row holds the values of one configuration in N cells. With I orders and J seeds, the error of the
mean of a row comes from orders, seeds and the residual, as in
`sweeps.statistics.variance_components`. The cells may be any subset of the I x J table (Henderson
1953, method 3), so that runs that are missing in one configuration can be left out in all.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Cells = Sequence[tuple[Hashable, Hashable]]


@dataclass(frozen=True, slots=True)
class CellDesign:
    """Projections and coefficients of N cells with I orders and J seeds.

    If no two cells share an order or a seed, or if only one of the two varies, the values of a row
    count as independent and there is a single mean square. Otherwise there are three, in the
    sequence order, seed, residual.
    """

    shape: tuple[int, int, int]
    """N, I and J."""
    degrees: tuple[int, ...]
    """Degrees of freedom of the K mean squares; one of 0 if the design does not identify them."""
    _residuals: tuple[Values, ...]
    """(N, N) residual projections after fitting orders and seeds, seeds alone, orders alone."""
    _coefficients: tuple[float, float]
    """Coefficients of v_order and v_seed in the expectations of their mean squares."""
    _shares: tuple[float, float]
    """Coefficients of v_order and v_seed in the variance of the mean of a row."""

    @property
    def independent(self) -> bool:
        """True if the values of a row count as independent."""
        return len(self.degrees) == 1

    @property
    def identified(self) -> bool:
        """True if all mean squares have degrees of freedom."""
        return min(self.degrees) > 0

    @property
    def least_degrees(self) -> float:
        """Degrees of freedom of the factor with fewer levels."""
        return float(min(self.degrees[:2]))

    def mean_squares(self, rows: Values) -> Values:
        """Return the mean squares (K, P) of rows (P, N) with mean 0."""
        if self.independent:
            return np.asarray((rows**2).sum(axis=1)[None] / self.degrees[0])
        both, without_order, without_seed = (
            ((rows @ projection) ** 2).sum(axis=1) for projection in self._residuals
        )
        order, seed, residual = self.degrees
        return np.stack(
            [(without_order - both) / order, (without_seed - both) / seed, both / residual]
        )

    def variance_terms(self, mean_squares: Values) -> Values:
        """Return terms (K, ...), one per mean square, whose sum is the variance of a row's mean.

        A component whose mean square is not larger than that of the residual is set to 0; its mean
        square is part of no term.
        """
        n = self.shape[0]
        if self.independent:
            return np.asarray(mean_squares / n)
        order, seed, residual = mean_squares
        (of_order, of_seed), (order_share, seed_share) = self._coefficients, self._shares
        in_order = np.where(order > residual, order_share / of_order, 0.0)
        in_seed = np.where(seed > residual, seed_share / of_seed, 0.0)
        return np.stack(
            [in_order * order, in_seed * seed, (1 / n - in_order - in_seed) * residual]
        )


def cell_design(cells: Cells) -> CellDesign:
    """Return the design of cells (order, seed).

    Raises:
        ValueError: If there is no cell.
    """
    if not cells:
        raise ValueError("a design needs at least one cell")
    return _design(tuple(cells))


@lru_cache(maxsize=64)  # all looks of a race use the same designs
def _design(cells: tuple[tuple[Hashable, Hashable], ...]) -> CellDesign:
    by_order, by_seed = (_indicators([cell[k] for cell in cells]) for k in (0, 1))
    n, i, j = (*by_order.shape, by_seed.shape[1])
    if min(i, j) == 1 or n == i == j:
        return CellDesign((n, i, j), (n - 1,), (), (0.0, 0.0), (0.0, 0.0))
    columns = (np.hstack([by_order, by_seed]), by_seed, by_order)
    residuals = tuple(np.eye(n) - fitted @ np.linalg.pinv(fitted) for fitted in columns)
    rank = int(np.linalg.matrix_rank(columns[0]))
    count = by_order.T @ by_seed  # (I, J)
    of_order, of_seed = count.sum(axis=1), count.sum(axis=0)
    return CellDesign(
        (n, i, j),
        (rank - j, rank - i, n - rank) if rank == i + j - 1 else (0, 0, n - rank),
        residuals,
        (
            (n - float((count**2 / of_seed).sum())) / (i - 1),
            (n - float((count**2 / of_order[:, None]).sum())) / (j - 1),
        ),
        (float((of_order**2).sum()) / n**2, float((of_seed**2).sum()) / n**2),
    )


def _indicators(factor: Sequence[Hashable]) -> Values:
    """Return indicators, shape (N, number of levels)."""
    place = {level: k for k, level in enumerate(dict.fromkeys(factor))}
    return np.eye(len(place))[[place[level] for level in factor]]
