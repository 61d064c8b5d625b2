"""Differences between configurations, paired run by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.analysis.trials.power import VarianceEstimate, detectable_difference, estimate_variance
from sweeps.analysis.trials.replicates import Cell, Replicates, Sample, difference
from sweeps.statistics.intervals import LEVEL, Interval, iqm_interval, mean_interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired difference between two configurations in one metric."""

    metric: str
    interval: Interval
    unpaired: int
    """Number of runs of either configuration without a partner, which were left out."""
    spread: VarianceEstimate | None
    """Variance components of the differences; None below 2 orders x 2 seeds."""

    @property
    def significant(self) -> bool:
        """True if the interval excludes 0."""
        return bool(self.interval.significant)

    @property
    def detectable_difference(self) -> float | None:
        """Difference that this design detects with a probability of about 80 %."""
        spread = self.spread
        return (
            None if spread is None else detectable_difference(spread, spread.orders, spread.seeds)
        )


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
    return Comparison(metric, interval, unpaired, estimate_variance(differences))


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
