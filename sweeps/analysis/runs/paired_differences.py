"""Differences between configurations, paired run by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.statistics.intervals import LEVEL, Interval, iqm_interval, mean_interval
from sweeps.analysis.runs.power import Spread, detectable, spread_of
from sweeps.analysis.runs.replicates import Cell, Replicates, Sample, difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """One configuration less another, in one metric."""

    metric: str
    interval: Interval
    unpaired: int
    """Runs of either that have no partner and were left out."""
    spread: Spread | None
    """Variance components of the differences; None below 2 orders x 2 seeds."""

    @property
    def settled(self) -> bool:
        """Whether the interval leaves 0 out."""
        return bool(self.interval.settled)

    @property
    def detectable(self) -> float | None:
        """The difference that these replicates show in about 80 % of the cases."""
        found = self.spread
        return None if found is None else detectable(found, found.orders, found.seeds)


def compare(
    one: Replicates,
    other: Replicates,
    metric: str,
    *,
    level: float = LEVEL,
    fixed_orders: bool = False,
    iqm: bool = False,
    only: Sequence[Cell] | None = None,
) -> Comparison | None:
    """one - other over the (order, seed) cells that both have; None if they share none.

    `only` restricts them to some cells.

    The interval is that of `mean_interval` over the differences, so it holds what orders and
    seeds do to the difference and not what they do to both alike. With `iqm` it is
    `iqm_interval`'s. Cells that only one of them has are counted in `unpaired`.
    """
    return compare_samples(
        difference(one, other, metric, only),
        metric,
        _alone(one, other, metric),
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
    """The comparison that given differences make; None if there are none."""
    if len(differences) == 0:
        return None
    cells = (differences.values, differences.orders, differences.seeds)
    interval = (
        iqm_interval(*cells, level)
        if iqm
        else mean_interval(*cells, level, fixed_orders=fixed_orders)
    )
    return Comparison(metric, interval, unpaired, spread_of(differences))


def _alone(one: Replicates, other: Replicates, metric: str) -> int:
    """Runs without a partner; a run that cannot depend on the order matches its seed's."""
    a, b = one.metrics[metric], other.metrics[metric]
    if one.order_free != other.order_free:
        return len({seed for _, seed in a} ^ {seed for _, seed in b})
    return len(a.keys() ^ b.keys())


def configurations(found: Sequence[Replicates], readout: str, split: str) -> list[Replicates]:
    """Those under a readout and split; one that lacks the readout is read by `last`."""
    of_split = [one for one in found if one.split == split]
    routed = {one.config_id for one in of_split if one.readout_id == readout}
    return [
        one
        for one in of_split
        if one.readout_id == readout
        or (one.config_id not in routed and one.role != "search" and one.readout_id == "last")
    ]
