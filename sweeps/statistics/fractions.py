"""Intervals for means of fractions, with ends between 0 and 1.

Accuracies near 1 are skewed: a bad run lies further from the mean than a good one. A symmetric
interval then ends above 1, and its lower end is too high too often. These intervals are symmetric
on the logit scale.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

Values = npt.NDArray[np.float64]


def logits(fractions: Values) -> Values:
    """Return log(p / (1 - p)) of fractions in [0, 1], with the ends moved inward.

    A fraction of exactly 0 or 1 has no logit. It is replaced by half of the smallest distance that
    any other value has from either end, and by 1 / 4 if all values are 0 or 1.
    """
    distances = np.minimum(fractions, 1.0 - fractions)
    inner = distances[distances > 0.0]
    nearest = float(inner.min()) / 2 if inner.size else 0.25
    return np.asarray(logit(np.clip(fractions, nearest, 1.0 - nearest)))


def mean_ends(mean: float, half: float) -> tuple[float, float]:
    """Return the interval around a mean in (0, 1), given its half width on the logit scale."""
    center = float(logit(mean))
    return float(expit(center - half)), float(expit(center + half))


def variance_of_total(squares: tuple[float, float, float], design: tuple[int, int]) -> float:
    """Return the variance of the estimated total variance v_order + v_seed + v_residual.

    `squares` are the mean squares of order, seed and residual of I orders x J seeds; components
    that are estimated as 0 are left out.
    """
    order, seed, residual = squares
    i, j = design
    in_order = 1 / j if order > residual else 0.0
    in_seed = 1 / i if seed > residual else 0.0
    terms = (
        (in_order * order) ** 2 / (i - 1),
        (in_seed * seed) ** 2 / (j - 1),
        ((1.0 - in_order - in_seed) * residual) ** 2 / ((i - 1) * (j - 1)),
    )
    return 2.0 * sum(terms)


def error_variance(mean: float, variance: float, of_total: float) -> float:
    """Return the variance of the logit of a mean of fractions.

    `variance` is that of the mean of the logits. The mean of fractions depends on their variance
    too: to second order, its logit is that of the median plus (1 - 2 p) / 2 times the variance of
    the logits. The uncertainty of that variance, `of_total`, is added, as Cox's method does for
    the mean of a lognormal distribution (Zhou and Gao 1997, Statistics in Medicine 16, 783-790).
    """
    return variance + ((2.0 * mean - 1.0) / 2.0) ** 2 * of_total
