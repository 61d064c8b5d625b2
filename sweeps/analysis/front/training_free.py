"""Do you need LoRA at all? The best trained configuration against the best untrained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clmethods.config.methods import METHOD_CONFIGS
from clmethods.metrics import Direction
from sweeps.analysis.runs.paired_differences import Comparison, compare
from sweeps.analysis.runs.power import needed
from sweeps.analysis.runs.replicates import Replicates, sample
from sweeps.statistics.intervals import Interval


@dataclass(frozen=True, slots=True)
class Need:
    """What training on top of the frozen backbone is worth, in one metric on test images."""

    trained: str
    untrained: str
    comparison: Comparison
    """trained - untrained, paired."""
    gain: float
    """How much better the trained one is: the mean difference in the metric's direction."""

    @property
    def text(self) -> str:
        """The answer in a line or two, in percentage points."""
        points = f"{100 * abs(self.gain):.1f} points"
        metric = self.comparison.metric
        said = (
            f"{self.trained} is {points} {'above' if self.gain >= 0 else 'below'} "
            f"{self.untrained}, which trains nothing (test {metric}, paired over "
            f"{self.comparison.interval.n} run{'s' * (self.comparison.interval.n != 1)}, "
            f"95 % {_ends(self.comparison.interval)})"
        )
        if not self.comparison.settled:
            return f"Do you need LoRA? Not settled: {said}; {self._plan()}"
        answer = "Yes here" if self.gain > 0 else "Not here"
        return f"Do you need LoRA? {answer}: {said}"

    def _plan(self) -> str:
        """What would settle it."""
        spread = self.comparison.spread
        if spread is None:
            return "two orders and two seeds at least would tell"
        design = needed(spread, self.gain)
        if design is None:
            return "too close for any design up to 64 x 64"
        return f"{design[0]} orders x {design[1]} seeds would settle a difference of this size"


def lora_need(
    validation: Sequence[Replicates],
    test: Sequence[Replicates],
    metric: str,
    direction: Direction,
    *,
    fixed_orders: bool = False,
) -> Need | None:
    """The best of each kind by the validation mean, compared on test images.

    None if the sweep has no training-free baseline, no trained configuration, or no common run.
    References, upper bounds and batch-wise readouts take no part.
    """
    beside: Mapping[tuple[str, str], Replicates] = {
        (one.config_id, one.readout_id): one for one in test
    }
    sign = 1.0 if direction == "max" else -1.0

    def best(trains: bool) -> Replicates | None:
        kind = [
            one
            for one in validation
            if one.fair
            and _trains(one.method) is trains
            and one.metrics.get(metric)
            and (one.config_id, one.readout_id) in beside
        ]
        return max(kind, key=lambda one: sign * sample(one, metric).values.mean(), default=None)

    trained, untrained = best(True), best(False)
    if trained is None or untrained is None:
        return None
    found = compare(
        beside[trained.config_id, trained.readout_id],
        beside[untrained.config_id, untrained.readout_id],
        metric,
        fixed_orders=fixed_orders,
    )
    if found is None:
        return None
    return Need(trained.label, untrained.label, found, sign * found.interval.mean)


def _trains(method: str) -> bool | None:
    """Whether the method trains; None for one that this code does not know."""
    config = METHOD_CONFIGS.get(method)
    return None if config is None else config.TRAINS


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"not known, {interval.note}"
    return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
