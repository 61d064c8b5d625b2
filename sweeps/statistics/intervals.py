"""Means with 95 % intervals over replicates that share orders and seeds.

Replicates are not independent: runs with the same order share the effect of that order, and runs
with the same seed share the effect of that seed. A plain t interval over all runs is too narrow:
its coverage can be as low as 55 % at a nominal 95 %. The intervals of this module take the numbers
of orders and of seeds into account instead.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtridf, stdtrit

from sweeps.statistics.fractions import error_variance, logits, mean_ends, variance_of_total
from sweeps.statistics.t_quantiles import Target, of_mean, t_quantile, variance_terms
from sweeps.statistics.variance_components import components, crossed, unbalanced

LEVEL = 0.95
"""Default confidence level."""

Design = Literal["crossed", "nested", "one factor", "incomplete", "single"]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Mean with a confidence interval and the design that it was computed for."""

    mean: float
    low: float | None
    """Lower end; None if there is a single value."""
    high: float | None
    n: int
    """Number of values."""
    degrees: float | None
    """Degrees of freedom of the t quantile; with several factors not necessarily an integer."""
    design: Design
    approximate: bool
    """True if replicates are missing, so that the coverage is only approximate."""
    note: str
    """Description of the design, and the reason if there is no interval."""

    @property
    def significant(self) -> bool | None:
        """True if the interval excludes 0, False if it contains 0, None without an interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, slots=True)
class _Error:
    """Variance of the error of a mean, as estimated from one design."""

    variance: float | None
    """None if the design does not identify it."""
    degrees: float
    of_total: float
    """Variance of the estimated total variance, see `sweeps.statistics.fractions`."""
    design: Design
    note: str


def mean_interval(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    level: float = LEVEL,
    *,
    fixed_orders: bool = False,
    fractions: bool = False,
) -> Interval:
    """Return the interval for the mean over the populations of orders and seeds.

    `values[k]` was measured with task order `orders[k]` and seed `seeds[k]`. The formula depends
    on the design:

    * Crossed design with I orders x J seeds, I and J at least 2. The variance components come from
      `sweeps.statistics.variance_components`; negative estimates are set to 0.

          Var(mean) = v_order / I + v_seed / J + v_residual / (I J)

      This is a sum of c_k MS_k over mean squares with f_k degrees of freedom. If all components
      are positive, it equals (MS_order + MS_seed - MS_residual) / (I J). The mean square of a
      component that is set to 0 does not enter the sum. The quantile is in
      `sweeps.statistics.t_quantiles`. The simulated coverage is in docs/statistics.md: it is
      conservative where the residual dominates.
    * One factor: one order, one seed, or a different order and a different seed for each value.
      The values then count as independent: mean ± t s / sqrt(n) with f = n - 1. If a factor did
      not vary, the interval holds for its one level only, and the note says so.
    * Nested design: each seed was run once and orders several times, as in a spread design with
      as many seeds as runs, or the reverse. The effect of the seed is part of the residual, which
      the interval includes. The components come from the mean squares between and within orders,
      and f = I - 1.
    * Incomplete design: some cells are empty or have several values. The components come from
      Henderson's method 3, their share in the mean from the numbers of values, and
      f = min(I, J) - K, where K is the number of groups without a common order or seed (usually
      1). The interval is marked as `approximate`. If the values do not identify the components,
      as in a 2 x 2 design without one run, there is no interval.
    * One value: no interval.

    With `fixed_orders`, the given orders are the whole population (the design `all`) and add no
    uncertainty: the values are the means over the orders, one per seed, with f = J - 1. The orders
    of a balanced design (Latin square, Williams) are treated as a random sample, which makes the
    interval wider, not narrower.

    With `fractions`, the values are between 0 and 1, such as accuracies. The interval is then
    computed from their logits and has its ends between 0 and 1 (`sweeps.statistics.fractions`).

    Raises:
        ValueError: If there are no values, if a value is not finite or, with `fractions`, not
            between 0 and 1, or if the lengths differ.
    """
    sample = checked(values, orders, seeds, fractions)
    n, mean = len(sample), float(sample.mean())
    if n == 1:
        return Interval(mean, None, None, 1, None, "single", False, "one run: no interval")
    scaled = logits(sample) if fractions else sample
    error = _error_of_mean(scaled, orders, seeds, level, fixed_orders)
    if error.variance is None:
        incomplete = error.design == "incomplete"
        return Interval(mean, None, None, n, None, error.design, incomplete, error.note)
    if not fractions or not 0.0 < mean < 1.0:
        return t_interval(mean, error.variance, n, error.degrees, level, error.design, error.note)
    variance = error_variance(mean, error.variance, error.of_total)
    half = float(stdtrit(error.degrees, 0.5 + level / 2)) * variance**0.5
    ends = mean_ends(mean, half)
    approximate = error.design == "incomplete"
    return Interval(mean, *ends, n, error.degrees, error.design, approximate, error.note)


def _error_of_mean(
    sample: Values,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    level: float,
    fixed_orders: bool,
) -> _Error:
    n, i, j = len(sample), len(set(orders)), len(set(seeds))
    note = f"{count_of(i, 'order')} x {count_of(j, 'seed')}"
    grid = crossed(sample, orders, seeds)
    if fixed_orders and i > 1 and grid is not None:
        if j == 1:
            note = f"{note}, all orders; the seed did not vary: no interval"
            return _Error(None, 0.0, 0.0, "one factor", note)
        by_seed = grid.mean(axis=0)  # (J,)
        return _independent(by_seed, "crossed", f"{note}, all orders")
    if grid is not None and min(grid.shape) >= 2:
        variance, degrees = crossed_error(grid, of_mean(i, j), level)
        parts = components(grid)
        squares = parts.mean_square_order, parts.mean_square_seed, parts.mean_square_residual
        return _Error(variance, degrees, variance_of_total(squares, (i, j)), "crossed", note)
    if grid is None and not n == i == j:
        estimates = unbalanced(sample, orders, seeds)
        confounded = None if estimates is None else estimates.confounded
        if confounded is not None:
            note = f"{n} runs in {note}, each with a different {confounded}"
        else:
            note = f"{note} with {n} runs, not one per cell"
        if estimates is None:
            return _Error(None, 0.0, 0.0, "incomplete", f"{note}: too few for an interval")
        in_mean = (
            estimates.order * estimates.order_in_mean,
            estimates.seed * estimates.seed_in_mean,
            estimates.residual / n,
        )
        least = estimates.degrees
        total = estimates.order + estimates.seed + estimates.residual
        design: Design = "incomplete" if confounded is None else "nested"
        return _Error(sum(in_mean), least, 2.0 * total**2 / least, design, note)
    if n == i == j:
        note = f"{n} runs, each with a different order and seed"
    else:
        note = f"{note}: the {'order' if i == 1 else 'seed'} did not vary"
    return _independent(sample, "one factor", note)


def _independent(sample: Values, design: Design, note: str) -> _Error:
    n, variance = len(sample), float(sample.var(ddof=1))
    return _Error(variance / n, n - 1, 2.0 * variance**2 / (n - 1), design, note)


def iqm_interval(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    level: float = LEVEL,
) -> Interval:
    """Return the interquartile mean with its interval.

    The interquartile mean is the mean without the lowest floor(n / 4) and the highest floor(n / 4)
    values. Unlike the mean, it is robust against single failed runs; it describes the typical run
    rather than the average one. The interval follows Tukey and McLaughlin 1963. With g values
    removed on each side, the variance of the mean of the winsorized values (each removed value is
    replaced by the nearest kept one), computed by `mean_interval`, is divided by (1 - 2 g / n)^2,
    and its degrees of freedom are multiplied by (n - 2 g - 1) / (n - 1).

    Raises:
        ValueError: As `mean_interval` does.
    """
    sample = checked(values, orders, seeds)
    n, cut = len(sample), len(sample) // 4
    ranked = np.sort(sample)
    kept = ranked[cut : n - cut]
    center = float(kept.mean())
    winsorized = np.clip(sample, kept[0], kept[-1])
    whole = mean_interval(winsorized, orders, seeds, level)
    if cut == 0 or whole.high is None or whole.degrees is None:
        return whole
    error = (whole.high - whole.mean) / float(stdtrit(whole.degrees, 0.5 + level / 2))
    variance = (error / (1 - 2 * cut / n)) ** 2
    degrees = max(whole.degrees * (n - 2 * cut - 1) / (n - 1), 1.0)
    note = f"{whole.note}, the middle {n - 2 * cut} of {n} runs"
    return t_interval(center, variance, n, degrees, level, whole.design, note)


def zero_p_value(
    interval: Interval, level: float = LEVEL, least: float | None = None
) -> float | None:
    """Return the two-sided p value of a true mean of 0; None without an interval.

    `interval` is symmetric, as that of differences, and has the given level: its ends and its
    degrees of freedom give the t statistic. If the interval excludes 0, the p value is below
    1 - level. `least` are the degrees of freedom of the factor with fewer levels in a crossed
    design. The degrees of freedom of the interval hold at its level, but give p values that are
    too small far beyond it if that factor dominates. They are therefore replaced by their harmonic
    mean with `least`, with a scale at which p values of 1 - level do not change.
    """
    if interval.high is None or interval.degrees is None:
        return None
    error = (interval.high - interval.mean) / float(stdtrit(interval.degrees, 0.5 + level / 2))
    if error <= 0.0:  # nothing varies
        return 1.0 if interval.mean == 0.0 else 0.0
    ratio, upper = abs(interval.mean) / error, 0.5 + level / 2
    if interval.design != "crossed" or least is None or least >= interval.degrees:
        return float(2.0 * stdtr(interval.degrees, -ratio))
    degrees = 2.0 / (1.0 / interval.degrees + 1.0 / least)
    scale = float(stdtrit(degrees, upper)) / float(stdtrit(interval.degrees, upper))
    return float(2.0 * stdtr(degrees, -ratio * scale))


def checked(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    fractions: bool = False,
) -> Values:
    """Return the values as an array (N,), or raise the `ValueError` of `mean_interval`."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample) == len(orders) == len(seeds) or len(sample) == 0:
        raise ValueError(
            "values, orders and seeds must be of equal length, at least 1; got "
            f"{sample.shape} values, {len(orders)} orders, {len(seeds)} seeds"
        )
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite, got {sample.tolist()}")
    if fractions and not ((sample >= 0.0) & (sample <= 1.0)).all():
        raise ValueError(f"fractions must be between 0 and 1, got {sample.tolist()}")
    return sample


def crossed_error(grid: Values, target: Target, level: float) -> tuple[float, float]:
    """Return the variance of the target's error and the degrees of freedom of its t quantile."""
    parts = components(grid)
    squares = parts.mean_square_order, parts.mean_square_seed, parts.mean_square_residual
    if not any(squares):
        return 0.0, float(min(grid.shape) - 1)
    terms = variance_terms(squares, grid.shape, target)
    quantile = t_quantile(terms, grid.shape, target, level)
    return float(terms.sum()), float(stdtridf(0.5 + level / 2, quantile))


def t_interval(
    mean: float,
    variance: float,
    n: int,
    degrees: float,
    level: float,
    design: Design,
    note: str,
) -> Interval:
    """Return the interval mean ± t(degrees) sqrt(variance)."""
    half = float(stdtrit(degrees, 0.5 + level / 2)) * variance**0.5
    return Interval(
        mean, mean - half, mean + half, n, float(degrees), design, design == "incomplete", note
    )


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, for notes: `1 order`, `3 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
