"""Candidates of a selection: configurations with the numbers that decisions use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clmethods.metrics import ACCURACIES, Direction
from sweeps.analysis.selection.common_runs import CommonEstimate, SelectedEstimate
from sweeps.analysis.trials.replicates import Cell, Replicates, sample, without_runs
from sweeps.statistics.intervals import Interval, mean_interval

DecisionBasis = Literal["bound", "pessimistic", "mean"]
"""Number that decisions use."""
COSTS = ("trainable_parameters", "stored_bytes")
"""Costs by which configurations within the indifference margin are ranked, the first one first."""


@dataclass(frozen=True, slots=True)
class MetricLimit:
    """Upper or lower bound of a metric."""

    metric: str
    kind: Literal["max", "min"]
    bound: float

    @property
    def direction(self) -> Direction:
        """Direction in which the metric moves away from the bound."""
        return "min" if self.kind == "max" else "max"

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.kind == 'max' else '>='} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class MetricEstimate:
    """Estimates of one metric of one configuration that decisions use."""

    interval: Interval
    worst_order: str | None
    """Order with the worst mean over its seeds; None if there is only one order."""
    worst: float
    """Mean in the worst order."""
    pessimistic: float
    """The worse of `worst` and the worse end of the interval; without an interval, the worse of
    `worst` and the mean."""
    common: CommonEstimate | None = None
    """Estimates over the common runs; None if these do not identify the errors."""

    @property
    def selected(self) -> SelectedEstimate | None:
        """Estimate that also holds after the selection of the best mean."""
        return None if self.common is None else self.common.selected

    def value(self, basis: DecisionBasis) -> float:
        """Return the number that decisions use; the mean if there is no bound."""
        if basis == "pessimistic":
            return self.pessimistic
        if basis == "bound" and self.common is not None:
            return self.common.bound
        return self.interval.mean


def metric_estimate(
    configuration: Replicates,
    metric: str,
    direction: Direction,
    cells: Sequence[Cell] | None = None,
    *,
    fixed_orders: bool = False,
) -> MetricEstimate | None:
    """Return the estimates of a metric, given its better direction; None without runs."""
    values = sample(configuration, metric, cells)
    if len(values) == 0:
        return None
    interval = mean_interval(
        values.values,
        values.orders,
        values.seeds,
        fixed_orders=fixed_orders,
        fractions=metric in ACCURACIES,
    )
    means = values.by_order()
    worst_of = min if direction == "max" else max
    order = worst_of(means, key=lambda name: (means[name], name))
    end = interval.low if direction == "max" else interval.high
    numbers = [interval.mean if end is None else end, means[order]]
    return MetricEstimate(
        interval, order if len(means) > 1 else None, means[order], worst_of(numbers)
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """Configuration under a readout, with the limits that it violates."""

    replicates: Replicates
    estimates: dict[str, MetricEstimate]
    violated: tuple[MetricLimit, ...]
    """Limits that it violates, or is not sure to keep, by the basis of the decision."""
    costs: tuple[float, ...] = ()
    """Mean costs, in the sequence of `COSTS`; infinite if unknown."""

    @property
    def name(self) -> str:
        """Label and readout."""
        return f"{self.replicates.label}, readout `{self.replicates.readout_id}`"


@dataclass(frozen=True, slots=True)
class Excluded:
    """Configuration that is not compared."""

    candidate: Candidate
    reason: str

    def __str__(self) -> str:
        return f"{self.candidate.name}: {self.reason}"


def candidates_of(
    configurations: Sequence[Replicates],
    directions: Mapping[str, Direction],
    cells: Sequence[Cell] | None,
    fixed_orders: bool,
) -> tuple[list[Candidate], list[Excluded]]:
    """Return the fair configurations with their own estimates, and those without."""
    candidates: list[Candidate] = []
    incomplete: list[Excluded] = []
    for configuration in configurations:
        if not configuration.fair:
            continue
        estimates = {
            metric: metric_estimate(
                configuration, metric, direction, cells, fixed_orders=fixed_orders
            )
            for metric, direction in directions.items()
        }
        known = {metric: value for metric, value in estimates.items() if value is not None}
        candidate = Candidate(configuration, known, (), _costs(configuration))
        if len(known) == len(estimates):
            candidates.append(candidate)
            continue
        (why,) = without_runs([configuration], list(directions)) or ["no run has all the metrics"]
        incomplete.append(Excluded(candidate, why))
    return candidates, incomplete


def _costs(configuration: Replicates) -> tuple[float, ...]:
    values = [configuration.metrics.get(name) for name in COSTS]
    return tuple(float(np.mean([*v.values()])) if v else float("inf") for v in values)
