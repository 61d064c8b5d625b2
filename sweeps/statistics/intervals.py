"""Mean and 95 % interval over replicates that share orders and seeds.

Replicates are not independent: those of one order share its luck, and so do those of one seed. A
plain t interval over all of them is too narrow, covering as little as 55 % where 95 % is claimed;
these intervals count the orders and the seeds instead.
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

Design = Literal["crossed", "one factor", "incomplete", "single"]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, how sure it is, and by which design."""

    mean: float
    low: float | None
    """Lower end; None if one value is all there is."""
    high: float | None
    n: int
    """Number of values."""
    degrees: float | None
    """Degrees of freedom that the t quantile has; those of several factors need not be whole."""
    design: Design
    approximate: bool
    """Whether replicates are missing, so that the interval holds only roughly."""
    note: str
    """The design in words, with the reason if there is no interval."""

    @property
    def settled(self) -> bool | None:
        """Whether the sign of a difference is certain: 0 is outside. None without an interval."""
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
    """Interval for the mean over the populations of orders and seeds.

    `values[k]` was measured with task order `orders[k]` and seed `seeds[k]`.

    * Crossed, I orders x J seeds, both 2 or more. With the variance components of
      `sweeps.statistics.variance_components`, negative ones floored at 0,

          Var(mean) = v_order / I + v_seed / J + v_residual / (I J)

      which is a sum of c_k MS_k over mean squares with f_k degrees of freedom: for components
      above 0, (MS_order + MS_seed - MS_residual) / (I J). A component that is floored takes its
      mean square out. The quantile is Satterthwaite's, and more with two orders or two seeds, as
      one difference says too little of its factor: `sweeps.statistics.quantiles`. Coverage
      simulated for 8 to 25 runs is in docs/statistics.md: cautious where the residual dominates.
    * One factor: one order, one seed, or each value with an order and a seed of its own. The
      values are then independent, as far as this design can tell: mean ± t s / sqrt(n), f = n - 1.
      What did not vary is not in the interval.
    * Incomplete: cells are missing or doubled. Components by Henderson's method 3, their share in
      the mean by the numbers of values, f = min(I, J) - 1; with too few values for that, the
      one-factor formula over all values. Either way marked `approximate`.
    * One value: no interval.

    With `fixed_orders` the orders at hand are all there are (the design `all`), so that they add
    no uncertainty: the means over the orders, one per seed, are the values, f = J - 1. Orders of
    a balanced design (Latin square, Williams) count as drawn, which errs on the wide side.

    Raises ValueError for no values, for values that are not finite and for unequal lengths.
    """
    sample = _checked(values, orders, seeds)
    n, i, j = len(sample), len(set(orders)), len(set(seeds))
    mean, note = float(sample.mean()), f"{_count(i, 'order')} x {_count(j, 'seed')}"
    if n == 1:
        return Interval(mean, None, None, 1, None, "single", False, "one run: no interval")
    grid = crossed(sample, orders, seeds)
    if fixed_orders and i > 1 and grid is not None:
        if j == 1:
            note = f"{note}, which are all: the seed did not vary, so no interval"
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
            variance, note = float(sample.var(ddof=1)) / n, f"{note}: too narrow"
            return _interval(mean, variance, n, n - 1, level, "incomplete", note)
        variance = (
            parts.order * parts.order_in_mean
            + parts.seed * parts.seed_in_mean
            + parts.residual / n
        )
        return _interval(mean, variance, n, min(i, j) - 1, level, "incomplete", note)
    variance = float(sample.var(ddof=1)) / n
    if n == i == j:
        note = f"{n} runs, each with an order and a seed of its own"
    return _interval(mean, variance, n, n - 1, level, "one factor", note)


def prediction_interval(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    order: Hashable | None = None,
    level: float = LEVEL,
) -> Interval:
    """Interval for the value of one new run, drawn with a fresh seed.

    Without `order`, or with one that was not run, the new run's order is fresh too; the centre is
    the mean, and for I orders x J seeds

        Var(new - mean) = v_order (1 + 1/I) + v_seed (1 + 1/J) + v_residual (1 + 1/(I J))

    With one of the orders at hand the centre is the mean of that order, and

        Var(new - mean of the order) = (v_seed + v_residual) (1 + 1/J)

    with the components pooled over all orders. The quantile is Cochran's where it is more than
    Satterthwaite's (`sweeps.statistics.quantiles`). Where only one factor varied, the interval is
    mean ± t s sqrt(1 + 1/n), and what did not vary is not in it. Raises ValueError as
    `mean_interval` does.
    """
    sample = _checked(values, orders, seeds)
    n, i, j = len(sample), len(set(orders)), len(set(seeds))
    independent = n == i == j
    here = np.array([order is not None and o == order and not independent for o in orders])
    known = bool(here.any())
    mean = float(sample[here].mean() if known else sample.mean())
    what = "a new seed in this order" if known else "a new order and seed"
    note = f"{what}, from {_count(i, 'order')} x {_count(j, 'seed')}"
    runs = int(here.sum())
    if n == 1 or (known and j == 1):
        return Interval(mean, None, None, n, None, "single", False, "one run: no interval")
    grid = crossed(sample, orders, seeds)
    if grid is not None and min(grid.shape) >= 2:
        target = of_new_run(i, j, known_order=known)
        variance, degrees = _crossed(grid, target, level)
        return _interval(mean, variance, n, degrees, level, "crossed", note)
    parts = unbalanced(sample, orders, seeds) if grid is None and not independent else None
    if parts is not None:
        new = (parts.seed + parts.residual) * (1 + 1 / max(runs, 1))
        if not known:
            new = (
                parts.order * (1 + parts.order_in_mean)
                + parts.seed * (1 + parts.seed_in_mean)
                + parts.residual * (1 + 1 / n)
            )
        note = f"{note}, {n} runs"
        return _interval(mean, new, n, min(i, j) - 1, level, "incomplete", note)
    centre, variance = float(sample.mean()), float(sample.var(ddof=1)) * (1 + 1 / n)
    alone = "; the order did not vary" if i == 1 and not known else ""
    alone = "; the seed did not vary" if j == 1 else alone
    complete = grid is not None or independent
    design: Design = "one factor" if complete else "incomplete"
    return _interval(centre, variance, n, n - 1, level, design, f"{note}{alone}")


def iqm_interval(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    level: float = LEVEL,
) -> Interval:
    """Interquartile mean: the mean without the lowest and the highest quarter, floor(n / 4) each.

    It resists single runs that fail badly, where the mean does not, and then describes the usual
    run rather than the average one. The interval follows Tukey and McLaughlin 1963: with g values
    cut on each side, the variance of the mean of the winsorised values (those cut set to the
    nearest one kept), here by `mean_interval`, over (1 - 2 g / n)^2, and its degrees of freedom
    times (n - 2 g - 1) / (n - 1).
    """
    sample = _checked(values, orders, seeds)
    n, cut = len(sample), len(sample) // 4
    ranked = np.sort(sample)
    kept = ranked[cut : n - cut]
    centre = float(kept.mean())
    winsorised = np.clip(sample, kept[0], kept[-1])
    whole = mean_interval(winsorised, orders, seeds, level)
    if cut == 0 or whole.high is None or whole.degrees is None:
        return whole
    error = (whole.high - whole.mean) / float(stdtrit(whole.degrees, 0.5 + level / 2))
    variance = (error / (1 - 2 * cut / n)) ** 2
    degrees = max(whole.degrees * (n - 2 * cut - 1) / (n - 1), 1.0)
    note = f"{whole.note}, the {n - 2 * cut} middle ones of {n} runs"
    return _interval(centre, variance, n, degrees, level, whole.design, note)


def _checked(
    values: npt.ArrayLike, orders: Sequence[Hashable], seeds: Sequence[Hashable]
) -> Values:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample) == len(orders) == len(seeds) or len(sample) == 0:
        raise ValueError(
            "one order and one seed per value, and at least one value, must be given, got "
            f"{sample.shape} values, {len(orders)} orders, {len(seeds)} seeds"
        )
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite, got {sample.tolist()}")
    return sample


def _crossed(grid: Values, target: Target, level: float) -> tuple[float, float]:
    """The variance of the target's error, and the degrees of freedom of its t quantile."""
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
