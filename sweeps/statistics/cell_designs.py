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
    count as independent and there is a single mean square. If each seed has one cell and orders
    have several, there are two, between and within orders: the effect of the seed is part of the
    residual. The same holds with orders and seeds exchanged. Otherwise there are three, in the
    sequence order, seed, residual.
    """

    shape: tuple[int, int, int]
    """N, I and J."""
    degrees: tuple[int, ...]
    """Degrees of freedom of the K mean squares, that of the residual last; one of 0 if the design
    does not identify them."""
    _residuals: tuple[Values, ...]
    """(N, N) residual projections after fitting all factors, then all factors but the k-th."""
    _coefficients: tuple[float, ...]
    """Coefficient of the component of each factor in the expectation of its mean square."""
    _shares: tuple[float, ...]
    """Coefficient of the component of each factor in the variance of the mean of a row."""

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
        """Degrees of freedom of the factor with the fewest, or of independent values."""
        return float(min(self.degrees[:-1] or self.degrees))

    def expected_mean_squares(self, order: float, seed: float, residual: float) -> Values:
        """Return the expectations (K,) of the mean squares for given variance components."""
        n, i, j = self.shape
        if self.independent:
            varying = (order if i > 1 else 0.0) + (seed if j > 1 else 0.0)
            return np.array([varying + residual])
        factors = [order, seed] if n not in (i, j) else [order if n == j else seed]
        rest = residual + (seed if n == j else 0.0) + (order if n == i else 0.0)
        parts = zip(self._coefficients, factors, strict=True)
        return np.array([*(weight * component + rest for weight, component in parts), rest])

    def mean_squares(self, rows: Values) -> Values:
        """Return the mean squares (K, P) of rows (P, N) with mean 0."""
        if self.independent:
            return np.asarray((rows**2).sum(axis=1)[None] / self.degrees[0])
        residual, *without = (
            ((rows @ projection) ** 2).sum(axis=1) for projection in self._residuals
        )
        added = [left - residual for left in without]
        return np.stack(
            [part / f for part, f in zip([*added, residual], self.degrees, strict=True)]
        )

    def variance_terms(self, mean_squares: Values) -> Values:
        """Return terms (K, ...), one per mean square, whose sum is the variance of a row's mean.

        A component whose mean square is not larger than that of the residual is set to 0; its mean
        square is part of no term.
        """
        n = self.shape[0]
        if self.independent:
            return np.asarray(mean_squares / n)
        residual = mean_squares[-1]
        weights = [
            np.where(square > residual, share / coefficient, 0.0)
            for square, share, coefficient in zip(
                mean_squares[:-1], self._shares, self._coefficients, strict=True
            )
        ]
        weights.append(np.asarray(1 / n - sum(weights)))
        return np.stack(weights) * mean_squares


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
    if n in (i, j):
        groups = by_order if n == j else by_seed  # the other factor has a level for each cell
        k, of_group = groups.shape[1], groups.sum(axis=0)
        square = float((of_group**2).sum())
        fitted = np.ones((n, 1))
        return CellDesign(
            (n, i, j),
            (k - 1, n - k),
            (_residual_projection(groups), _residual_projection(fitted)),
            ((n - square / n) / (k - 1),),
            (square / n**2,),
        )
    both = np.hstack([by_order, by_seed])
    rank = int(np.linalg.matrix_rank(both))
    count = by_order.T @ by_seed  # (I, J)
    of_order, of_seed = count.sum(axis=1), count.sum(axis=0)
    return CellDesign(
        (n, i, j),
        (rank - j, rank - i, n - rank),
        tuple(_residual_projection(columns) for columns in (both, by_seed, by_order)),
        (
            (n - float((count**2 / of_seed).sum())) / max(rank - j, 1),
            (n - float((count**2 / of_order[:, None]).sum())) / max(rank - i, 1),
        ),
        (float((of_order**2).sum()) / n**2, float((of_seed**2).sum()) / n**2),
    )


def _residual_projection(columns: Values) -> Values:
    return np.asarray(np.eye(len(columns)) - columns @ np.linalg.pinv(columns))


def _indicators(factor: Sequence[Hashable]) -> Values:
    """Return indicators, shape (N, number of levels)."""
    place = {level: k for k, level in enumerate(dict.fromkeys(factor))}
    return np.eye(len(place))[[place[level] for level in factor]]
