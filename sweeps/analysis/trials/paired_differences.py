"""Differences between configurations, paired run by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweeps.analysis.trials.power import (
    VarianceEstimate,
    detectable_difference,
    detectable_in,
    estimate_variance,
)
from sweeps.analysis.trials.replicates import Cell, Replicates, Sample, difference
from sweeps.statistics.cell_designs import cell_design
from sweeps.statistics.intervals import (
    LEVEL,
    Interval,
    iqm_interval,
    mean_interval,
    zero_p_value,
)
from sweeps.statistics.multiple_comparisons import adjusted_p_values


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired difference between two configurations in one metric."""

    metric: str
    interval: Interval
    unpaired: int
    """Number of runs of either configuration without a partner, which were left out."""
    spread: VarianceEstimate | None
    """Variance components of the differences; None if the runs do not separate them."""
    differences: Sample
    p_value: float | None = None
    """Two-sided p value of a difference of 0; None without an interval."""
    adjusted: float | None = None
    """The p value after adjustment for all comparisons of a list; None outside of lists."""

    @property
    def significant(self) -> bool:
        """True if the adjusted p value is below 5 %; outside of lists, if 0 is not inside."""
        if self.adjusted is not None:
            return self.adjusted < 1.0 - LEVEL
        return bool(self.interval.significant)

    @property
    def detectable_difference(self) -> float | None:
        """Difference that these runs detect with a probability of about 80 %; None if unknown."""
        spread, runs = self.spread, self.differences
        if spread is not None and len(runs) == spread.orders * spread.seeds:
            return detectable_difference(spread, spread.orders, spread.seeds)
        varying = min(len(set(runs.orders)), len(set(runs.seeds)))
        if self.interval.low is None or varying < 2:
            return None
        design = cell_design(tuple(zip(runs.orders, runs.seeds, strict=True)))
        centered = runs.values - runs.values.mean()
        return detectable_in(design, design.mean_squares(centered[None])[:, 0])


def compare(
    first: Replicates,
    second: Replicates,
    metric: str,
    *,
    level: float = LEVEL,
    fixed_orders: bool = False,
    iqm: bool = False,
    only: Sequence[Cell] | None = None,
) -> Comparison | None:
    """Compare two configurations over the cells that both have; None if there are none.

    A cell is an (order, seed). The difference is first - second. `only` restricts the cells. The
    interval is that of `mean_interval` over the differences (with `iqm`, that of `iqm_interval`):
    it covers the effects of orders and seeds on the difference, but not the effects that both
    configurations share. Cells that only one of them has are counted in `unpaired`.
    """
    return compare_samples(
        difference(first, second, metric, only),
        metric,
        _unpaired(first, second, metric),
        level=level,
        fixed_orders=fixed_orders,
        iqm=iqm,
    )


def compare_samples(
    differences: Sample,
    metric: str,
    unpaired: int = 0,
    *,
    level: float = LEVEL,
    fixed_orders: bool = False,
    iqm: bool = False,
) -> Comparison | None:
    """Return the comparison for given differences; None if there are none."""
    if len(differences) == 0:
        return None
    cells = (differences.values, differences.orders, differences.seeds)
    interval = (
        iqm_interval(*cells, level)
        if iqm
        else mean_interval(*cells, level, fixed_orders=fixed_orders)
    )
    least = min(len(set(differences.orders)), len(set(differences.seeds))) - 1
    p_value = zero_p_value(interval, level, None if fixed_orders else least)
    spread = estimate_variance(differences)
    return Comparison(metric, interval, unpaired, spread, differences, p_value)


def adjusted(comparisons: Sequence[Comparison | None]) -> list[Comparison | None]:
    """Return the comparisons of one list with p values that are adjusted for its length.

    The adjustment is that of `adjusted_p_values`.
    """
    p_values = [np.nan if c is None or c.p_value is None else c.p_value for c in comparisons]
    corrected = adjusted_p_values(p_values).tolist()
    return [
        comparison
        if comparison is None or comparison.p_value is None
        else replace(comparison, adjusted=value)
        for comparison, value in zip(comparisons, corrected, strict=True)
    ]


def significant_of_list(intervals: Sequence[Interval | None]) -> list[bool | None]:
    """Return which differences of one list are significant; None without an interval.

    The p values are adjusted for the length of the list, as by `adjusted`.
    """
    p_values = [None if interval is None else zero_p_value(interval) for interval in intervals]
    corrected = adjusted_p_values([np.nan if p is None else p for p in p_values]).tolist()
    return [
        None if p is None else value < 1.0 - LEVEL
        for p, value in zip(p_values, corrected, strict=True)
    ]


def _unpaired(first: Replicates, second: Replicates, metric: str) -> int:
    """Return the number of runs without a partner.

    A run that does not depend on the order matches all runs with the same seed.
    """
    a, b = first.metrics[metric], second.metrics[metric]
    if first.order_free != second.order_free:
        return len({seed for _, seed in a} ^ {seed for _, seed in b})
    return len(a.keys() ^ b.keys())


def configurations(found: Sequence[Replicates], readout: str, split: str) -> list[Replicates]:
    """Return the configurations under a readout and split.

    Baselines without the readout are included with their readout `last`.
    """
    of_split = [entry for entry in found if entry.split == split]
    with_readout = {entry.config_id for entry in of_split if entry.readout_id == readout}
    return [
        entry
        for entry in of_split
        if entry.readout_id == readout
        or (
            entry.config_id not in with_readout
            and entry.role != "search"
            and entry.readout_id == "last"
        )
    ]
