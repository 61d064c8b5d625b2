"""Benefit of training: the best trained configuration compared with the best untrained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clmethods.config.methods import METHOD_CONFIGS
from clmethods.metrics import Direction
from sweeps.analysis.trials.paired_differences import Comparison, compare
from sweeps.analysis.trials.planned_design import MOST, smallest_design
from sweeps.analysis.trials.power import POWER
from sweeps.analysis.trials.replicates import Replicates, sample
from sweeps.statistics.intervals import Interval


@dataclass(frozen=True, slots=True)
class TrainingFreeComparison:
    """Benefit of training on top of the frozen backbone, in one metric on test images."""

    trained: str
    untrained: str
    comparison: Comparison
    """Paired difference trained - untrained."""
    gain: float
    """Mean improvement of the trained one, in the direction of the metric."""

    @property
    def text(self) -> str:
        """Question and answer in one or two lines."""
        return f"Do you need LoRA? {self.answer}"

    @property
    def answer(self) -> str:
        """Answer in one or two lines, in percentage points."""
        points = f"{100 * abs(self.gain):.1f} points"
        metric = self.comparison.metric
        result = (
            f"{self.trained} is {points} {'above' if self.gain >= 0 else 'below'} "
            f"{self.untrained}, which does not train (test {metric}, paired over "
            f"{self.comparison.interval.n} run{'s' * (self.comparison.interval.n != 1)}, "
            f"95 % {_ends(self.comparison.interval)})"
        )
        if not self.comparison.significant:
            return f"Undecided: {result}; {self._plan()}"
        return f"{'Yes here' if self.gain > 0 else 'Not here'}: {result}"

    def _plan(self) -> str:
        """Return the design that would decide the question."""
        spread = self.comparison.spread
        if spread is None:
            return "at least two orders and two seeds are needed to decide"
        design = smallest_design(spread, self.gain)
        if design is None:
            return f"the difference may be too small for any design up to {MOST} x {MOST}"
        return (
            f"{design[0]} orders x {design[1]} seeds would detect it in {POWER:.0%} of cases, "
            "averaged over the sizes that these runs leave open"
        )


def compare_with_training_free(
    validation: Sequence[Replicates],
    test: Sequence[Replicates],
    metric: str,
    direction: Direction,
    *,
    fixed_orders: bool = False,
) -> TrainingFreeComparison | None:
    """Compare the best trained and the best untrained configuration on test images.

    Both are selected by their mean on validation images. Return None if the sweep has no
    training-free baseline, no trained configuration, or no common run. References, upper bounds
    and batch-wise readouts are excluded.
    """
    on_test: Mapping[tuple[str, str], Replicates] = {
        (configuration.config_id, configuration.readout_id): configuration
        for configuration in test
    }
    sign = 1.0 if direction == "max" else -1.0

    def best(trains: bool) -> Replicates | None:
        candidates = [
            configuration
            for configuration in validation
            if configuration.fair
            and _trains(configuration.method) is trains
            and configuration.metrics.get(metric)
            and (configuration.config_id, configuration.readout_id) in on_test
        ]
        return max(
            candidates,
            key=lambda configuration: sign * sample(configuration, metric).values.mean(),
            default=None,
        )

    trained, untrained = best(True), best(False)
    if trained is None or untrained is None:
        return None
    comparison = compare(
        on_test[trained.config_id, trained.readout_id],
        on_test[untrained.config_id, untrained.readout_id],
        metric,
        fixed_orders=fixed_orders,
    )
    if comparison is None:
        return None
    return TrainingFreeComparison(
        trained.label, untrained.label, comparison, sign * comparison.interval.mean
    )


def _trains(method: str) -> bool | None:
    """Return True if the method trains; None for a method that this version does not know."""
    config = METHOD_CONFIGS.get(method)
    return None if config is None else config.TRAINS


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"unknown, {interval.note}"
    return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
