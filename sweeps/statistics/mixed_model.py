"""Variance components of incomplete designs by restricted maximum likelihood (REML).

    y = mu + sum_k Z_k u_k + e,   u_k ~ N(0, v_k I),   e ~ N(0, v_e I)

The model has one term per factor and interaction, as in `sweeps.analysis.orders.variance_shares`.
On complete designs with positive estimates, the result equals that of the analysis of variance
(Searle, Casella and McCulloch 1992, chapter 6).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sweeps.statistics.variance_components import ROUNDING

Values = npt.NDArray[np.float64]

MOST = 1500
"""Maximum number of runs; the dense linear algebra would take minutes for more."""
SMALLEST = 1e-6
"""Threshold relative to the variance of the values; a smaller component is set to 0."""


def restricted_likelihood(
    values: Values, terms: Mapping[str, Sequence[Hashable]]
) -> dict[str, float] | None:
    """Return REML estimates of the variance of each term and of the `residual`.

    `terms[name][n]` is the level of the term that run n belongs to; for an interaction, the tuple
    of the levels of its factors. The estimates are in squared units of `values`. Return None if
    the values are constant, or if there are fewer than 3 or more than `MOST` runs.
    """
    from scipy.linalg import cho_factor, cho_solve  # slow to import; used for incomplete designs
    from scipy.optimize import minimize

    n = len(values)
    spread = float(values.var())
    if not 3 <= n <= MOST or spread <= (ROUNDING * float(np.abs(values).max())) ** 2:
        return None
    indicators = [_same(levels) for levels in terms.values()]  # (N, N) each: Z Z'
    scaled = (values - values.mean()) / np.sqrt(spread)
    ones = np.ones(n)

    def minus_likelihood(logs: Values) -> float:
        covariance = np.exp(logs[-1]) * np.eye(n)
        for log, indicator in zip(logs[:-1], indicators, strict=True):
            covariance += np.exp(log) * indicator
        factor = cho_factor(covariance, lower=True, check_finite=False)
        weights = cho_solve(factor, ones, check_finite=False)
        information = float(weights.sum())
        mean = float(weights @ scaled) / information
        deviation = scaled - mean
        quadratic = float(deviation @ cho_solve(factor, deviation, check_finite=False))
        determinant = 2.0 * float(np.log(np.diag(factor[0])).sum())
        return float(0.5 * (determinant + np.log(information) + quadratic))

    start = np.full(len(indicators) + 1, np.log(1.0 / (len(indicators) + 1)))
    low = np.log(SMALLEST / 100)
    optimum = minimize(
        minus_likelihood, start, method="L-BFGS-B", bounds=[(low, 10.0)] * len(start)
    )
    parts = np.where(np.exp(optimum.x) <= SMALLEST, 0.0, np.exp(optimum.x)) * spread
    return dict(zip([*terms, "residual"], parts.tolist(), strict=True))


def _same(levels: Sequence[Hashable]) -> Values:
    """Return an (N, N) matrix that is 1 where two runs have the same level and 0 elsewhere."""
    number = {level: k for k, level in enumerate(dict.fromkeys(levels))}
    code = np.array([number[level] for level in levels])
    return np.asarray(code[:, None] == code[None, :], dtype=np.float64)
