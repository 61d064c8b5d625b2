"""Selection of the configuration to deploy: the best one that satisfies all limits.

The best mean is often due to replicate noise. Decisions therefore use the more pessimistic of two
numbers: the worse end of the 95 % interval of the mean, and the mean in the worst task order that
was run. Decisions use validation accuracy only; test accuracy is reported alongside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clmethods.errors import refuse, require
from clmethods.metrics import Direction
from sweeps.analysis.front.hypervolume import knee
from sweeps.analysis.trials.replicates import Cell, Replicates, sample, without_runs
from sweeps.statistics.intervals import Interval, mean_interval

DecisionBasis = Literal["pessimistic", "mean"]
"""Number that decisions use."""


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

    def value(self, basis: DecisionBasis) -> float:
        """Return the number that decisions use."""
        return self.pessimistic if basis == "pessimistic" else self.interval.mean


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
    interval = mean_interval(values.values, values.orders, values.seeds, fixed_orders=fixed_orders)
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
    """Limits that it violates, by the basis of the decision."""

    @property
    def name(self) -> str:
        """Label and readout."""
        return f"{self.replicates.label}, readout `{self.replicates.readout_id}`"


@dataclass(frozen=True, slots=True)
class Selection:
    """Result of a selection, with the alternatives."""

    chosen: Candidate | None
    """None if no configuration satisfies all limits."""
    runner_up: Candidate | None
    """Second-best configuration that satisfies all limits."""
    admissible: tuple[Candidate, ...]
    """All that satisfy every limit, the best first. With the knee, only the first two are
    sorted."""
    refused: tuple[Candidate, ...]
    """Configurations that violate a limit, sorted by the size of the violation."""
    incomplete: tuple[str, ...]
    """Configurations without a run that has all metrics: name and reason."""
    unlimited: Candidate | None
    """Best candidate without limits."""


def select(
    configurations: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    limits: Sequence[MetricLimit],
    prefer: str | None,
    *,
    basis: DecisionBasis = "pessimistic",
    cells: Sequence[Cell] | None = None,
    fixed_orders: bool = False,
) -> Selection:
    """Select one of the fair configurations; all of `configurations` must be of one split.

    With `prefer`, a key of `objectives`, the configuration with the best value of that metric is
    selected; without, the knee of the front over all objectives. `basis` is the number that
    decisions use: the pessimistic one or the mean. `cells` restricts the runs.

    Raises:
        InvalidConfigError: If a limit has the wrong direction for its objective.
    """
    refuse(
        require(
            objectives.get(limit.metric, limit.direction) == limit.direction,
            f"--{limit.kind}",
            limit.metric,
            f"a metric whose {'low' if limit.kind == 'max' else 'high'} values are better",
            f"Use --{'min' if limit.kind == 'max' else 'max'} for this metric.",
        )
        for limit in limits
    )
    directions = dict(objectives) | {limit.metric: limit.direction for limit in limits}
    candidates: list[Candidate] = []
    incomplete: list[str] = []
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
        if len(known) < len(estimates):
            (why,) = without_runs([configuration], list(directions)) or [
                "no run has all the metrics"
            ]
            incomplete.append(
                f"{configuration.label}, readout `{configuration.readout_id}`: {why}"
            )
            continue
        violated = tuple(limit for limit in limits if not _kept(limit, known[limit.metric], basis))
        candidates.append(Candidate(configuration, known, violated))
    admissible = [c for c in candidates if not c.violated]
    refused = [c for c in candidates if c.violated]
    ranked = _ranked(admissible, objectives, prefer, basis)
    every = _ranked(candidates, objectives, prefer, basis)
    return Selection(
        chosen=ranked[0] if ranked else None,
        runner_up=ranked[1] if len(ranked) > 1 else None,
        admissible=tuple(ranked),
        refused=tuple(sorted(refused, key=lambda c: _excess(c, basis))),
        incomplete=tuple(incomplete),
        unlimited=every[0] if every else None,
    )


def _kept(limit: MetricLimit, estimate: MetricEstimate, basis: DecisionBasis) -> bool:
    value = estimate.value(basis)
    return value <= limit.bound if limit.kind == "max" else value >= limit.bound


def _excess(candidate: Candidate, basis: DecisionBasis) -> float:
    """Return the sum of the amounts by which limits are violated."""
    return sum(
        abs(candidate.estimates[limit.metric].value(basis) - limit.bound)
        for limit in candidate.violated
    )


def _ranked(
    candidates: Sequence[Candidate],
    objectives: Mapping[str, Direction],
    prefer: str | None,
    basis: DecisionBasis,
) -> list[Candidate]:
    """Return the candidates, the best first; ties are resolved by the mean, then by the name."""
    if prefer is not None:
        sign = -1.0 if objectives[prefer] == "max" else 1.0

        def place(candidate: Candidate) -> tuple[float, float, str]:
            preferred = candidate.estimates[prefer]
            return sign * preferred.value(basis), sign * preferred.interval.mean, candidate.name

        return sorted(candidates, key=place)
    left, ranked = list(candidates), list[Candidate]()
    directions = list(objectives.values())
    while left and len(ranked) < 2:  # only the choice and the runner-up are needed
        points = np.array([[c.estimates[name].value(basis) for name in objectives] for c in left])
        knee_row = knee(points, directions)
        if knee_row is None:
            break
        ranked.append(left.pop(knee_row))
    return [*ranked, *left]
