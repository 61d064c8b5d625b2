"""Variance components where runs are missing: restricted maximum likelihood.

    y = mu + sum_k Z_k u_k + e,   u_k ~ N(0, v_k I),   e ~ N(0, v_e I)

with one term per factor and interaction, as in `sweeps.analysis.orders.variance_shares`. On
complete designs whose estimates are all positive it gives what the analysis of variance gives
(Searle, Casella and McCulloch 1992, chapter 6).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from sweeps.statistics.variance_components import ROUNDING

Values = npt.NDArray[np.float64]

MOST = 1500
"""Runs above which the dense algebra would take minutes."""
SMALLEST = 1e-6
"""Variance, relative to that of the values, below which a component is 0."""


def restricted_likelihood(
    values: Values, terms: Mapping[str, Sequence[Hashable]]
) -> dict[str, float] | None:
    """REML estimates of each term's variance and of the `residual`, in squared units of `values`.

    `terms[name][n]` is the level of the term that run n belongs to; for an interaction, the tuple
    of its factors' levels. None for a constant sample, fewer than 3 or more than `MOST` runs.
    """
    n = len(values)
    spread = float(values.var())
    if not 3 <= n <= MOST or spread <= (ROUNDING * float(np.abs(values).max())) ** 2:
        return None
    shared = [_same(levels) for levels in terms.values()]  # (N, N) each: Z Z'
    scaled = (values - values.mean()) / np.sqrt(spread)
    ones = np.ones(n)

    def minus_likelihood(logs: Values) -> float:
        covariance = np.exp(logs[-1]) * np.eye(n)
        for log, same in zip(logs[:-1], shared, strict=True):
            covariance += np.exp(log) * same
        factor = cho_factor(covariance, lower=True, check_finite=False)
        weights = cho_solve(factor, ones, check_finite=False)
        information = float(weights.sum())
        mean = float(weights @ scaled) / information
        rest = scaled - mean
        quadratic = float(rest @ cho_solve(factor, rest, check_finite=False))
        determinant = 2.0 * float(np.log(np.diag(factor[0])).sum())
        return float(0.5 * (determinant + np.log(information) + quadratic))

    start = np.full(len(shared) + 1, np.log(1.0 / (len(shared) + 1)))
    low = np.log(SMALLEST / 100)
    found = minimize(minus_likelihood, start, method="L-BFGS-B", bounds=[(low, 10.0)] * len(start))
    parts = np.where(np.exp(found.x) <= SMALLEST, 0.0, np.exp(found.x)) * spread
    return dict(zip([*terms, "residual"], parts.tolist(), strict=True))


def _same(levels: Sequence[Hashable]) -> Values:
    """1 where two runs have the same level."""
    number = {level: k for k, level in enumerate(dict.fromkeys(levels))}
    code = np.array([number[level] for level in levels])
    return np.asarray(code[:, None] == code[None, :], dtype=np.float64)
