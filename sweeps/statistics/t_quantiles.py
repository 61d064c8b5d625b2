"""t quantile for a variance that is a sum of mean squares with few degrees of freedom each.

The functions accept the mean squares of one design or arrays of the mean squares of many designs.
Coverage can therefore be simulated with the same formulas that the intervals use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Values = npt.NDArray[np.float64]

TWO_LEVELS = 2.0
"""Maximum degrees of freedom for a factor with two levels; simulated, see docs/statistics.md."""


class Target(NamedTuple):
    """Coefficients of the variance components in the error variance that an interval estimates."""

    order: float
    seed: float
    residual: float
    one_run: bool
    """True for a single future run, False for a mean."""


def of_mean(orders: int, seeds: int) -> Target:
    """Return the target for the mean over the populations of orders and seeds."""
    return Target(1 / orders, 1 / seeds, 1 / (orders * seeds), False)


def of_new_run(orders: int, seeds: int, *, known_order: bool) -> Target:
    """Return the target for one run with a new seed, in a known order or in a new one."""
    if known_order:
        return Target(0.0, 1 + 1 / seeds, 1 + 1 / seeds, True)
    return Target(1 + 1 / orders, 1 + 1 / seeds, 1 + 1 / (orders * seeds), True)


def variance_terms(
    squares: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    design: tuple[int, int],
    target: Target,
) -> Values:
    """Return the terms c_k MS_k, shape (3, ...), whose sum is the variance of the target.

    `squares` are the mean squares of order, seed and residual. A component whose mean square is
    not larger than that of the residual is set to 0, and its mean square is part of no term.
    """
    order, seed, residual = (np.asarray(square, dtype=np.float64) for square in squares)
    of_order = np.where(order > residual, target.order / design[1], 0.0)
    of_seed = np.where(seed > residual, target.seed / design[0], 0.0)
    rest = target.residual - of_order - of_seed
    return np.stack([of_order * order, of_seed * seed, rest * residual])


def t_quantile(terms: Values, design: tuple[int, int], target: Target, level: float) -> Values:
    """Return the factor, shape (...), for the square root of the sum of `terms` (3, ...).

    `terms` come from `variance_terms`. Satterthwaite 1946 uses the t quantile with f degrees of
    freedom, where f_k are those of the mean squares:

        f = (sum_k c_k MS_k)^2 / sum_k (c_k MS_k)^2 / f_k

    f is at least m, the smallest f_k of the factors that the target depends on. If the factor with
    the largest contribution shows little variance in the sample, f is too large and coverage is
    lost. The quantile of Cochran 1964,

        t = sum_k c_k MS_k t(f_k) / sum_k c_k MS_k, over the positive terms,

    does not have this weakness, but is too large on average. For a mean, the result is therefore
    the middle of the two quantiles if Cochran's is the larger one. For a single run or a factor
    with two levels, which lose more, it is the larger one; with two levels, f is at most 2.
    """
    i, j = design
    freedoms = np.array([i - 1, j - 1, (i - 1) * (j - 1)], dtype=np.float64)
    used = [f for f, weight in zip(freedoms[:2], target[:2], strict=True) if weight > 0]
    least, upper = float(min(used)), 0.5 + level / 2
    by_term = freedoms.reshape(3, *[1] * (terms.ndim - 1))
    spread = (terms**2 / by_term).sum(axis=0)
    varies = spread > 0.0  # otherwise the variance is 0 and the quantile does not matter
    degrees = terms.sum(axis=0) ** 2 / np.where(varies, spread, 1.0)
    degrees = np.maximum(degrees, least)  # noise in a difference of mean squares can go below
    if least == 1.0:
        degrees = np.minimum(degrees, TWO_LEVELS)
    quantile = stdtrit(degrees, upper)
    weights = np.maximum(terms, 0.0)
    own = stdtrit(by_term, upper)
    total = np.where(varies, weights.sum(axis=0), 1.0)
    excess = np.maximum((weights * own).sum(axis=0) / total - quantile, 0.0)
    share = 1.0 if target.one_run or least == 1.0 else 0.5
    return np.asarray(quantile + share * excess)
