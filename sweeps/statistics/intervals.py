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
from scipy.special import stdtridf, stdtrit

from sweeps.statistics.quantiles import Target, of_mean, of_new_run, t_quantile, variance_terms
from sweeps.statistics.variance_components import components, crossed, unbalanced

LEVEL = 0.95
"""Default confidence level."""

Design = Literal["crossed", "one factor", "incomplete", "single"]
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


def mean_interval(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    level: float = LEVEL,
    *,
    fixed_orders: bool = False,
) -> Interval:
    """Return the interval for the mean over the populations of orders and seeds.

    `values[k]` was measured with task order `orders[k]` and seed `seeds[k]`. The formula depends
    on the design:

    * Crossed design with I orders x J seeds, I and J at least 2. The variance components come from
      `sweeps.statistics.variance_components`; negative estimates are set to 0.

          Var(mean) = v_order / I + v_seed / J + v_residual / (I J)

      This is a sum of c_k MS_k over mean squares with f_k degrees of freedom. If all components
      are positive, it equals (MS_order + MS_seed - MS_residual) / (I J). The mean square of a
      component that is set to 0 does not enter the sum. The quantile follows Satterthwaite; with
      two orders or two seeds it is larger, because a single difference carries too little
      information about the variance of its factor (see `sweeps.statistics.quantiles`). The
      simulated coverage for 8 to 25 runs is in docs/statistics.md: it is conservative where the
      residual dominates.
    * One factor: one order, one seed, or a different order and a different seed for each value.
      The values then count as independent: mean ± t s / sqrt(n) with f = n - 1. The interval does
      not cover the variance of a factor that did not vary.
    * Incomplete design: some cells are empty or have several values. The components come from
      Henderson's method 3, their share in the mean from the numbers of values, and
      f = min(I, J) - 1. With too few values for that, the one-factor formula is used over all
      values. In both cases the interval is marked as `approximate`.
    * One value: no interval.

    With `fixed_orders`, the given orders are the whole population (the design `all`) and add no
    uncertainty: the values are the means over the orders, one per seed, with f = J - 1. The orders
    of a balanced design (Latin square, Williams) are treated as a random sample, which makes the
    interval wider, not narrower.

    Raises:
        ValueError: If there are no values, if a value is not finite, or if the lengths differ.
    """
    sample = _checked(values, orders, seeds)
    n, i, j = len(sample), len(set(orders)), len(set(seeds))
    mean, note = float(sample.mean()), f"{_count(i, 'order')} x {_count(j, 'seed')}"
    if n == 1:
        return Interval(mean, None, None, 1, None, "single", False, "one run: no interval")
    grid = crossed(sample, orders, seeds)
    if fixed_orders and i > 1 and grid is not None:
        if j == 1:
            note = f"{note}, all orders; the seed did not vary: no interval"
            return Interval(mean, None, None, n, None, "one factor", False, note)
        by_seed = grid.mean(axis=0)  # (J,)
        variance = float(by_seed.var(ddof=1)) / j
        return _interval(mean, variance, n, j - 1, level, "crossed", f"{note}, all orders")
    if grid is not None and min(grid.shape) >= 2:
        variance, degrees = _crossed(grid, of_mean(i, j), level)
        return _interval(mean, variance, n, degrees, level, "crossed", note)
    if grid is None and not n == i == j:
        parts = unbalanced(sample, orders, seeds)
        note = f"{note} with {n} runs, not one per cell"
        if parts is None:
            variance, note = float(sample.var(ddof=1)) / n, f"{note}: the interval is too narrow"
            return _interval(mean, variance, n, n - 1, level, "incomplete", note)
        variance = (
            parts.order * parts.order_in_mean
            + parts.seed * parts.seed_in_mean
            + parts.residual / n
        )
        return _interval(mean, variance, n, min(i, j) - 1, level, "incomplete", note)
    variance = float(sample.var(ddof=1)) / n
    if n == i == j:
        note = f"{n} runs, each with a different order and seed"
    return _interval(mean, variance, n, n - 1, level, "one factor", note)


def prediction_interval(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    order: Hashable | None = None,
    level: float = LEVEL,
) -> Interval:
    """Return the interval for the value of one new run with a new seed.

    If `order` is None or was not run, the new run also has a new order. The center is the mean,
    and for I orders x J seeds

        Var(new - mean) = v_order (1 + 1/I) + v_seed (1 + 1/J) + v_residual (1 + 1/(I J))

    If `order` was run, the center is the mean of that order, and

        Var(new - mean of the order) = (v_seed + v_residual) (1 + 1/J)

    with the components pooled over all orders. The quantile is the larger of Cochran's and
    Satterthwaite's (`sweeps.statistics.quantiles`). If only one factor varied, the interval is
    mean ± t s sqrt(1 + 1/n) and does not cover the variance of the other factor.

    Raises:
        ValueError: As `mean_interval` does.
    """
    sample = _checked(values, orders, seeds)
    n, i, j = len(sample), len(set(orders)), len(set(seeds))
    independent = n == i == j
    in_order = np.array([order is not None and o == order and not independent for o in orders])
    known = bool(in_order.any())
    mean = float(sample[in_order].mean() if known else sample.mean())
    target_run = "a new seed in this order" if known else "a new order and seed"
    note = f"{target_run}, from {_count(i, 'order')} x {_count(j, 'seed')}"
    runs = int(in_order.sum())
    if n == 1 or (known and j == 1):
        return Interval(mean, None, None, n, None, "single", False, "one run: no interval")
    grid = crossed(sample, orders, seeds)
    if grid is not None and min(grid.shape) >= 2:
        target = of_new_run(i, j, known_order=known)
        variance, degrees = _crossed(grid, target, level)
        return _interval(mean, variance, n, degrees, level, "crossed", note)
    parts = unbalanced(sample, orders, seeds) if grid is None and not independent else None
    if parts is not None:
        new_run_variance = (parts.seed + parts.residual) * (1 + 1 / max(runs, 1))
        if not known:
            new_run_variance = (
                parts.order * (1 + parts.order_in_mean)
                + parts.seed * (1 + parts.seed_in_mean)
                + parts.residual * (1 + 1 / n)
            )
        note = f"{note}, {n} runs"
        return _interval(mean, new_run_variance, n, min(i, j) - 1, level, "incomplete", note)
    center, variance = float(sample.mean()), float(sample.var(ddof=1)) * (1 + 1 / n)
    alone = "; the order did not vary" if i == 1 and not known else ""
    alone = "; the seed did not vary" if j == 1 else alone
    complete = grid is not None or independent
    design: Design = "one factor" if complete else "incomplete"
    return _interval(center, variance, n, n - 1, level, design, f"{note}{alone}")


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
    sample = _checked(values, orders, seeds)
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
    return _interval(center, variance, n, degrees, level, whole.design, note)


def _checked(
    values: npt.ArrayLike, orders: Sequence[Hashable], seeds: Sequence[Hashable]
) -> Values:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample) == len(orders) == len(seeds) or len(sample) == 0:
        raise ValueError(
            "values, orders and seeds must be of equal length, at least 1; got "
            f"{sample.shape} values, {len(orders)} orders, {len(seeds)} seeds"
        )
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite, got {sample.tolist()}")
    return sample


def _crossed(grid: Values, target: Target, level: float) -> tuple[float, float]:
    """Return the variance of the target's error and the degrees of freedom of its t quantile."""
    parts = components(grid)
    squares = parts.mean_square_order, parts.mean_square_seed, parts.mean_square_residual
    if not any(squares):
        return 0.0, float(min(grid.shape) - 1)
    terms = variance_terms(squares, grid.shape, target)
    quantile = t_quantile(terms, grid.shape, target, level)
    return float(terms.sum()), float(stdtridf(0.5 + level / 2, quantile))


def _interval(
    mean: float,
    variance: float,
    n: int,
    degrees: float,
    level: float,
    design: Design,
    note: str,
) -> Interval:
    half = float(stdtrit(degrees, 0.5 + level / 2)) * variance**0.5
    return Interval(
        mean, mean - half, mean + half, n, float(degrees), design, design == "incomplete", note
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
