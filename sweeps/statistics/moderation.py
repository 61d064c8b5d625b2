"""Variances of many configurations, moderated toward what they have in common.

With few runs, the variance of one configuration is not known well, but many configurations show
how large variances are and how much they differ. The prior is a scaled inverse chi-squared
distribution; its two parameters come from the mean and the variance of the log variances (Smyth
2004, Statistical Applications in Genetics and Molecular Biology 3(1), article 3, section 6.2).
Assumptions: normal values, variances that are exchangeable between configurations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, polygamma

Values = npt.NDArray[np.float64]

SMALLEST = 1e-6
"""Smallest variance relative to the largest; a variance of 0 has no logarithm."""


class Moderated(NamedTuple):
    """Moderated variances and the degrees of freedom that they have."""

    variances: Values  # (C,)
    degrees: float
    """Degrees of freedom of a moderated variance, those of the prior included."""


def moderate(variances: npt.ArrayLike, degrees: int, independent: int | None = None) -> Moderated:
    """Return the posterior variances of C configurations, each with `degrees` of freedom.

        s_c^2 moderated = (d_0 s_0^2 + d s_c^2) / (d_0 + d)

    If the variances differ no more than by chance, d_0 is infinite and all of them are replaced by
    their mean. A moderated variance has at most the degrees of freedom of that mean: `degrees`
    times the number of `independent` variances, by default C. With one configuration, or if
    nothing varies, the variances are returned as they are.
    """
    squares = np.asarray(variances, dtype=np.float64)
    pooled = float(degrees * (len(squares) if independent is None else independent))
    largest = float(squares.max(initial=0.0))
    if len(squares) < 2 or largest <= 0.0:
        return Moderated(squares, float(degrees))
    logs = np.log(np.maximum(squares, SMALLEST * largest))
    half = degrees / 2
    centered = logs - digamma(half) + np.log(half)
    excess = float(centered.var(ddof=1)) - float(polygamma(1, half))
    if excess <= 0.0:
        return Moderated(np.full_like(squares, squares.mean()), pooled)
    prior_degrees = 2.0 * _inverse_trigamma(excess)
    prior_half = prior_degrees / 2
    prior = float(np.exp(centered.mean() + digamma(prior_half) - np.log(prior_half)))
    total = prior_degrees + degrees
    moderated = (prior_degrees * prior + degrees * squares) / total
    return Moderated(moderated, min(total, pooled))


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 with trigamma(x) = value, by Newton's method on 1 / trigamma."""
    x = 0.5 + 1.0 / value
    for _ in range(50):  # converges in fewer than ten steps from this start
        trigamma = float(polygamma(1, x))
        step = trigamma * (1.0 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
