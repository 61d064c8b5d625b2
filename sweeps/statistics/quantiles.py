"""The t quantile for a variance that is a sum of mean squares, each with few degrees of freedom.

Everything here takes one design's mean squares or arrays of many designs' alike, so that coverage
can be simulated on the very formulas that the intervals use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Values = npt.NDArray[np.float64]

TWO_LEVELS = 2.0
"""Most degrees of freedom with two levels of a factor; by simulation, see docs/statistics.md."""


class Target(NamedTuple):
    """What an interval is for: multiples of the components in the variance of its error."""

    order: float
    seed: float
    residual: float
    one_run: bool
    """Whether it is for a single run to come, and not for a mean."""


def of_mean(orders: int, seeds: int) -> Target:
    """The mean over the populations of orders and seeds."""
    return Target(1 / orders, 1 / seeds, 1 / (orders * seeds), False)


def of_new_run(orders: int, seeds: int, *, known_order: bool) -> Target:
    """One run with a fresh seed, in an order that was run or in a fresh one."""
    if known_order:
        return Target(0.0, 1 + 1 / seeds, 1 + 1 / seeds, True)
    return Target(1 + 1 / orders, 1 + 1 / seeds, 1 + 1 / (orders * seeds), True)


def variance_terms(
    squares: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    design: tuple[int, int],
    target: Target,
) -> Values:
    """(3, ...): c_k MS_k, whose sum is the variance, for the mean squares (order, seed, residual).

    A component whose mean square is not above the residual's counts as 0, so that its mean square
    is in no term.
    """
    order, seed, residual = (np.asarray(square, dtype=np.float64) for square in squares)
    of_order = np.where(order > residual, target.order / design[1], 0.0)
    of_seed = np.where(seed > residual, target.seed / design[0], 0.0)
    rest = target.residual - of_order - of_seed
    return np.stack([of_order * order, of_seed * seed, rest * residual])


def t_quantile(terms: Values, design: tuple[int, int], target: Target, level: float) -> Values:
    """(...): the quantile by which the root of the sum of `variance_terms` (3, ...) is multiplied.

    Satterthwaite 1946: the quantile of f degrees of freedom, with f_k those of the mean squares,

        f = (sum_k c_k MS_k)^2 / sum_k (c_k MS_k)^2 / f_k

    never below m, the least of the f_k of the factors that the target depends on. Where the
    factor that matters most happens to show little, f is too large. That costs a mean 2 points of
    coverage, but a single run or a factor of two levels more: there Cochran 1964 is the least,

        t = sum_k c_k MS_k t(f_k) / sum_k c_k MS_k, over the positive terms,

    and with two levels f is at most 2.
    """
    i, j = design
    freedoms = np.array([i - 1, j - 1, (i - 1) * (j - 1)], dtype=np.float64)
    used = [f for f, weight in zip(freedoms[:2], target[:2], strict=True) if weight > 0]
    least, upper = float(min(used)), 0.5 + level / 2
    by_term = freedoms.reshape(3, *[1] * (terms.ndim - 1))
    spread = (terms**2 / by_term).sum(axis=0)
    varies = spread > 0.0  # if nothing does: any quantile times 0
    degrees = terms.sum(axis=0) ** 2 / np.where(varies, spread, 1.0)
    degrees = np.maximum(degrees, least)  # a difference of mean squares can be below, by noise
    if least == 1.0:
        degrees = np.minimum(degrees, TWO_LEVELS)
    quantile = stdtrit(degrees, upper)
    if target.one_run or least == 1.0:
        weights = np.maximum(terms, 0.0)
        own = stdtrit(by_term, upper)
        total = np.where(varies, weights.sum(axis=0), 1.0)
        quantile = np.maximum(quantile, (weights * own).sum(axis=0) / total)
    return np.asarray(quantile)
