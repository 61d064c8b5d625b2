"""Intervals for the value of one new run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from sweeps.statistics.fractions import logits
from sweeps.statistics.intervals import (
    LEVEL,
    Design,
    Interval,
    checked,
    count_of,
    crossed_error,
    t_interval,
)
from sweeps.statistics.t_quantiles import of_new_run
from sweeps.statistics.variance_components import crossed, unbalanced

Values = npt.NDArray[np.float64]


def prediction_interval(
    values: npt.ArrayLike,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    order: Hashable | None = None,
    level: float = LEVEL,
    *,
    fractions: bool = False,
) -> Interval:
    """Return the interval for the value of one new run with a new seed.

    If `order` is None or was not run, the new run also has a new order. The center is the mean,
    and for I orders x J seeds

        Var(new - mean) = v_order (1 + 1/I) + v_seed (1 + 1/J) + v_residual (1 + 1/(I J))

    If `order` was run, the center is the mean of that order, and

        Var(new - mean of the order) = (v_seed + v_residual) (1 + 1/J)

    with the components pooled over all orders. The quantile is the larger of Cochran's and
    Satterthwaite's (`sweeps.statistics.t_quantiles`). If only one factor varied, the interval is
    mean ± t s sqrt(1 + 1/n) and does not cover the variance of the other factor. There is no
    interval if the runs do not identify the components, as in `mean_interval`. With `fractions`,
    the interval is that of the logit of the new value, so that its ends are between 0 and 1.

    Raises:
        ValueError: As `mean_interval` does.
    """
    sample = checked(values, orders, seeds, fractions)
    if not fractions:
        return _prediction(sample, orders, seeds, order, level)
    found = _prediction(logits(sample), orders, seeds, order, level)
    ends = (None if end is None else float(expit(end)) for end in (found.low, found.high))
    mean = _prediction(sample, orders, seeds, order, level).mean
    low, high = ends
    return replace(found, mean=mean, low=low, high=high)


def _prediction(
    sample: Values,
    orders: Sequence[Hashable],
    seeds: Sequence[Hashable],
    order: Hashable | None,
    level: float,
) -> Interval:
    n, i, j = len(sample), len(set(orders)), len(set(seeds))
    independent = n == i == j
    in_order = np.array([order is not None and o == order and not independent for o in orders])
    known = bool(in_order.any())
    mean = float(sample[in_order].mean() if known else sample.mean())
    target_run = "a new seed in this order" if known else "a new order and seed"
    note = f"{target_run}, from {count_of(i, 'order')} x {count_of(j, 'seed')}"
    runs = int(in_order.sum())
    if n == 1 or (known and j == 1):
        return Interval(mean, None, None, n, None, "single", False, "one run: no interval")
    grid = crossed(sample, orders, seeds)
    if grid is not None and min(grid.shape) >= 2:
        target = of_new_run(i, j, known_order=known)
        variance, degrees = crossed_error(grid, target, level)
        return t_interval(mean, variance, n, degrees, level, "crossed", note)
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
        design: Design = "incomplete" if parts.confounded is None else "nested"
        return t_interval(mean, new_run_variance, n, parts.degrees, level, design, note)
    if grid is None and not independent:
        note = f"{note}: {n} runs are too few for an interval"
        return Interval(mean, None, None, n, None, "incomplete", True, note)
    center, variance = float(sample.mean()), float(sample.var(ddof=1)) * (1 + 1 / n)
    alone = "; the order did not vary" if i == 1 and not known else ""
    alone = "; the seed did not vary" if j == 1 else alone
    return t_interval(center, variance, n, n - 1, level, "one factor", f"{note}{alone}")
