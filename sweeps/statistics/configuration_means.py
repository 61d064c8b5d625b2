"""Means of configurations that were run in the same cells: errors, bounds, shrunken estimates.

The value of configuration c in order i with seed j is

    y[c, i, j] = mu[c] + shared[i, j] + order[c, i] + seed[c, j] + residual[c, i, j]

The shared part is the same for all configurations: it makes means uncertain, but not comparisons.
The other parts have a variance per configuration, which is estimated from the values without the
means of the cells and moderated over the configurations (`sweeps.statistics.moderation`).
Assumptions: normal effects; many configurations, or few that differ. Measured coverage and regret
are in docs/statistics.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import logit, stdtr, stdtrit

from sweeps.statistics.cell_designs import CellDesign, Cells, cell_design
from sweeps.statistics.fractions import logits
from sweeps.statistics.moderation import moderate
from sweeps.statistics.variance_components import ROUNDING

Values = npt.NDArray[np.float64]

LOWER_LEVEL = 0.8
"""One-sided level of `ConfigurationMeans.bounds`.

A higher level prefers configurations that vary less. If the noise of all is equal, it penalizes
those whose variance was estimated too large: in 600 simulated sweeps of 20 configurations with
2 x 2 runs, the regret was 12 % larger than that of the best mean at 0.95, and 4 % at 0.8.
"""
LIMIT_LEVEL = 0.95
"""Level at which `ConfigurationMeans.limit_p_values` counts the error that all means share."""
FEWEST_TO_SHRINK = 4
"""Fewest configurations whose means are shrunken; the variance of fewer says too little."""


@dataclass(frozen=True, slots=True)
class ConfigurationMeans:
    """Means of C configurations over N common cells, with their errors."""

    means: Values  # (C,)
    variances: Values  # (C,)
    """Variances of the errors that configurations do not share."""
    degrees: Values  # (C,)
    """Degrees of freedom of `variances`."""
    shared_variance: float
    """Variance of the error that all means share."""
    shared_degrees: float
    deviations: Values  # (C, N)
    """Values without the means of configurations and of cells."""

    def bounds(self, sign: float, level: float = LOWER_LEVEL) -> Values:
        """Return one-sided bounds (C,) of the means, without the error that they share.

        `sign` is 1 for lower bounds, for a quantity that should be high, and -1 for upper ones. If
        all configurations have the same variance, the ranking is that of the means.
        """
        half = stdtrit(self.degrees, level) * np.sqrt(self.variances)
        return np.asarray(self.means - sign * half)

    def limit_p_values(self, limit: float, sign: float, level: float = LIMIT_LEVEL) -> Values:
        """Return one-sided p values (C,) of the true means being beyond `limit`.

        `sign` is 1 for an upper limit and -1 for a lower one. The limit is first moved by the
        error that all means share, at `level`: it is the same for all configurations, so that a
        correction for their number concerns only the error that they do not share. The two errors
        are combined as in the interval of `shrunken`.
        """
        gap = sign * (limit - self.means)
        shared = float(stdtrit(self.shared_degrees, level)) ** 2 * self.shared_variance
        left = np.sqrt(np.maximum(gap**2 - shared, 0.0))
        error = np.sqrt(self.variances)
        ratio = np.divide(left, error, out=np.full_like(left, np.inf), where=error > 0.0)
        kept = (gap >= 0.0) & (gap**2 >= shared)
        return np.where(kept, stdtr(self.degrees, -ratio), 1.0)

    def comparison(self, first: int, second: int, level: float) -> tuple[float, float]:
        """Return the difference of two means and the half width of its interval."""
        terms = self.variances[[first, second]]
        degrees = float(self.degrees[[first, second]].min())  # moderated, hence not independent
        half = float(stdtrit(degrees, 0.5 + level / 2)) * float(terms.sum()) ** 0.5
        return float(self.means[first] - self.means[second]), half


def configuration_means(values: npt.ArrayLike, cells: Cells) -> ConfigurationMeans | None:
    """Return the means of `values` (C, N), measured in `cells` (order, seed) of length N.

    Return None unless the cells identify the variance components: at least two cells, with common
    orders and seeds or with none in common.

    Raises:
        ValueError: If the shape does not match the cells, or if a value is not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(cells) or len(table) == 0:
        raise ValueError(f"values must be (C, {len(cells)}), got shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("values must be finite")
    design = cell_design(cells)
    if not design.identified:
        return None
    means, by_cell = table.mean(axis=1), table.mean(axis=0)
    deviations = table - means[:, None]
    if len(table) > 1:
        deviations = deviations - (by_cell - by_cell.mean())
    if np.abs(deviations).max() <= ROUNDING * np.abs(table).max():
        deviations = np.zeros_like(deviations)
    variances, degrees = _moderated(design, deviations)
    shared, shared_degrees = 0.0, np.inf
    if len(table) > 1:
        shared, shared_degrees = _of_one_row(design, by_cell - by_cell.mean())
    return ConfigurationMeans(means, variances, degrees, shared, shared_degrees, deviations)


def fraction_means(values: npt.ArrayLike, cells: Cells) -> ConfigurationMeans | None:
    """Return `configuration_means` of fractions, such as accuracies, on the logit scale.

    Errors are those of the logits, and `means` are the logits of the means of the fractions. The
    inverse logit of a bound is therefore between 0 and 1. A mean of exactly 0 or 1 is moved inward
    by less than any value could differ from it (`sweeps.statistics.fractions`).

    Raises:
        ValueError: As `configuration_means` does, or if a value is not between 0 and 1.
    """
    table = np.asarray(values, dtype=np.float64)
    if not ((table >= 0.0) & (table <= 1.0)).all():
        raise ValueError("fractions must be between 0 and 1")
    result = configuration_means(logits(table), cells)
    if result is None:
        return None
    distances = np.minimum(table, 1.0 - table)
    inner = distances[distances > 0.0]
    nearest = (float(inner.min()) if inner.size else 0.5) / (2 * len(cells))
    means = np.clip(table.mean(axis=1), nearest, 1.0 - nearest)
    return replace(result, means=np.asarray(logit(means)))


def _moderated(design: CellDesign, deviations: Values) -> tuple[Values, Values]:
    """Return the moderated variances of the row means (C,) and their degrees of freedom (C,)."""
    count = len(deviations)
    scale = count / (count - 1) if count > 1 else 1.0  # the mean over configurations was removed
    squares = scale * design.mean_squares(deviations)  # (K, C)
    independent = max(count - 1, 1)
    parts = [moderate(row, d, independent) for row, d in zip(squares, design.degrees, strict=True)]
    terms = design.variance_terms(np.stack([part.variances for part in parts]))
    freedoms = np.array([part.degrees for part in parts])
    return terms.sum(axis=0), _satterthwaite(terms, freedoms, design.least_degrees)


def _of_one_row(design: CellDesign, row: Values) -> tuple[float, float]:
    terms = design.variance_terms(design.mean_squares(row[None]))  # (K, 1)
    degrees = _satterthwaite(terms, np.array(design.degrees), design.least_degrees)
    return float(terms.sum()), float(degrees[0])


def _satterthwaite(terms: Values, degrees: Values, least: float) -> Values:
    """Return Satterthwaite's degrees of freedom (C,) for the sums of `terms` (K, C)."""
    total = terms.sum(axis=0)
    parts = (terms**2 / degrees[:, None]).sum(axis=0)
    ratio = np.divide(total**2, parts, out=np.full_like(total, np.inf), where=parts > 0.0)
    return np.asarray(np.maximum(ratio, least))


@dataclass(frozen=True, slots=True)
class Shrunken:
    """Means that are shrunken toward the mean of all configurations, with intervals."""

    estimates: Values  # (C,)
    low: Values  # (C,)
    high: Values  # (C,)


def shrunken(result: ConfigurationMeans, level: float = 0.95) -> Shrunken:
    """Return estimates that are not too good for the configuration with the best mean.

    The best of many noisy means is too good on average. The true means are assumed to come from a
    normal distribution. Its variance is estimated by the method of Paule and Mandel 1982, and each
    mean moves toward the common one by the factor of Morris 1983 (Journal of the American
    Statistical Association 78, 47-55, equation 1.16), whose variance includes the uncertainty of
    the shrinkage itself. The interval therefore also holds for a configuration that was selected
    because of its mean; it includes the error that all configurations share. Fewer than
    `FEWEST_TO_SHRINK` configurations are not shrunken.
    """
    means, variances, count = result.means, result.variances, len(result.means)
    estimates, errors = means.copy(), variances.copy()
    if count >= FEWEST_TO_SHRINK and float(variances.max()) > 0.0:
        between = _between(means, variances)
        weights = 1.0 / np.maximum(variances + between, np.finfo(float).tiny)
        center = float((weights * means).sum() / weights.sum())
        factor = (count - 3) / (count - 1) * variances * weights
        estimates = means - factor * (means - center)
        errors = (
            (1.0 - factor) * variances
            + 2.0 / (count - 3) * factor**2 * (means - center) ** 2
            + factor**2 / weights.sum()
        )
    upper = 0.5 + level / 2
    own = stdtrit(result.degrees, upper) ** 2 * errors
    shared = float(stdtrit(result.shared_degrees, upper)) ** 2 * result.shared_variance
    half = np.sqrt(own + shared)
    return Shrunken(estimates, estimates - half, estimates + half)


def _between(means: Values, variances: Values) -> float:
    """Return the variance between true means at which the weighted squares equal C - 1."""
    low, high = 0.0, 10.0 * float(means.var()) + np.finfo(float).tiny
    for _ in range(60):  # bisection to far below any digit that is shown
        between = (low + high) / 2
        weights = 1.0 / np.maximum(variances + between, np.finfo(float).tiny)
        center = (weights * means).sum() / weights.sum()
        if float((weights * (means - center) ** 2).sum()) > len(means) - 1:
            low = between
        else:
            high = between
    return (low + high) / 2
