"""Selection of the configuration to deploy: the best one that satisfies all limits.

The best mean is often due to replicate noise. Decisions therefore use a one-sided bound of the
mean over the runs that all configurations have in common (`common_runs`): with equal noise it
ranks as the mean does, and a configuration that varies more has to be better by more. Other bases
are the mean, and the more pessimistic of the worse end of the 95 % interval and the mean in the
worst task order. Decisions use validation accuracy only; test accuracy is reported alongside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit, stdtr, stdtrit

from clmethods.errors import refuse, require
from clmethods.metrics import ACCURACIES, Direction
from sweeps.analysis.front.hypervolume import knee
from sweeps.analysis.selection.common_runs import CommonRuns, common_runs
from sweeps.analysis.selection.selection_candidates import (
    Candidate,
    DecisionBasis,
    Excluded,
    MetricLimit,
    candidates_of,
)
from sweeps.analysis.trials.replicates import Cell, Replicates
from sweeps.statistics.configuration_means import FEWEST_TO_SHRINK
from sweeps.statistics.intervals import LEVEL
from sweeps.statistics.multiple_comparisons import holm


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
    incomplete: tuple[Excluded, ...]
    """Configurations that are not compared, such as those without a run that has all metrics."""
    unlimited: Candidate | None
    """Best candidate without limits."""
    common_runs: int | None = None
    """Number of common runs of the bounds; None if there are no bounds."""
    within: int = 0
    """Number of configurations within the indifference margin of the best; 0 without a margin."""


def select(
    configurations: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    limits: Sequence[MetricLimit],
    prefer: str | None,
    *,
    basis: DecisionBasis = "bound",
    cells: Sequence[Cell] | None = None,
    fixed_orders: bool = False,
    within: float | None = None,
) -> Selection:
    """Select one of the fair configurations; all of `configurations` must be of one split.

    With `prefer`, a key of `objectives`, the configuration with the best value of that metric is
    selected; without, the knee of the front over all objectives. `basis` is the number that
    decisions use. `cells` restricts the runs. With `within`, the configuration with the lowest
    `COSTS` is selected among those whose value of `prefer` is at most `within` worse than the
    best one.

    With the basis `bound`, a limit is kept only if a one-sided test at 5 % says so, adjusted by
    Holm's method for the number of configurations. If the common runs do not identify the errors,
    means are used instead, and `Selection.common_runs` is None.

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
    candidates, incomplete = candidates_of(configurations, directions, cells, fixed_orders)
    common = common_runs(
        [candidate.replicates for candidate in candidates],
        list(directions),
        cells,
        fixed_orders=fixed_orders,
    )
    if common is not None:
        if basis == "bound":
            incomplete += _with_fewer_runs(candidates, common)
            candidates = [candidates[index] for index in common.compared]
        if len(common.compared) == len(candidates):
            candidates = _with_estimates(candidates, common, directions)
    candidates = _with_violations(candidates, limits, basis, common)
    admissible = [c for c in candidates if not c.violated]
    refused = [c for c in candidates if c.violated]
    ranked = _ranked(admissible, objectives, prefer, basis)
    every = _ranked(candidates, objectives, prefer, basis)
    close: list[Candidate] = []
    if within is not None and prefer is not None and ranked:
        best = ranked[0].estimates[prefer].value(basis)
        most = within + 1e-12  # rounding must not exclude a difference of exactly the margin
        close = [c for c in ranked if abs(c.estimates[prefer].value(basis) - best) <= most]
        cheapest = min(close, key=lambda c: c.costs)  # the first, hence better, one of equal costs
        ranked = [cheapest, *(c for c in ranked if c is not cheapest)]
    return Selection(
        chosen=ranked[0] if ranked else None,
        runner_up=ranked[1] if len(ranked) > 1 else None,
        admissible=tuple(ranked),
        refused=tuple(sorted(refused, key=lambda c: _excess(c, basis))),
        incomplete=tuple(incomplete),
        unlimited=every[0] if every else None,
        common_runs=None if common is None else common.runs,
        within=len(close),
    )


def _with_fewer_runs(candidates: Sequence[Candidate], common: CommonRuns) -> list[Excluded]:
    compared = set(common.compared)
    return [
        Excluded(candidate, "fewer runs than others, not compared")
        for index, candidate in enumerate(candidates)
        if index not in compared
    ]


def _with_estimates(
    candidates: Sequence[Candidate], common: CommonRuns, directions: Mapping[str, Direction]
) -> list[Candidate]:
    """Return the candidates with their estimates over common runs."""
    found = {
        metric: common.estimates(metric, direction) for metric, direction in directions.items()
    }
    return [
        replace(
            candidate,
            estimates={
                metric: replace(value, common=found[metric][index])
                for metric, value in candidate.estimates.items()
            },
        )
        for index, candidate in enumerate(candidates)
    ]


def _with_violations(
    candidates: Sequence[Candidate],
    limits: Sequence[MetricLimit],
    basis: DecisionBasis,
    common: CommonRuns | None,
) -> list[Candidate]:
    """Return the candidates with the limits that they violate.

    A configuration keeps all limits only if it keeps each of them, so that its largest p value
    counts; the correction is for the number of configurations, not of limits. Two or three
    configurations do not show which of them varies, so that each has its own error. With more, the
    smaller p value of the own runs and of the model of all runs counts, doubled (Bonferroni): the
    model assumes effects of similar size, and those of some metrics grow with their level.
    """
    if basis != "bound" or common is None or not limits:
        return [
            replace(c, violated=tuple(limit for limit in limits if not _kept(limit, c, basis)))
            for c in candidates
        ]
    p_values = np.array([[_p_value(limit, c) for c in candidates] for limit in limits])
    if len(candidates) >= FEWEST_TO_SHRINK:
        pooled = np.array(
            [common.limit_p_values(each.metric, each.bound, each.direction) for each in limits]
        )
        p_values = np.minimum(1.0, 2.0 * np.minimum(p_values, pooled))  # (limits, C)
    worst = p_values.max(axis=0)
    adjusted = holm(worst)
    # The factor of the correction is that of the configuration, also for its other limits.
    factor = np.divide(adjusted, worst, out=np.ones_like(worst), where=worst > 0.0)
    fails = p_values * np.maximum(factor, 1.0) > 1.0 - LEVEL
    return [
        replace(c, violated=tuple(limit for limit, fail in zip(limits, row, strict=True) if fail))
        for c, row in zip(candidates, fails.T, strict=True)
    ]


def _p_value(limit: MetricLimit, candidate: Candidate) -> float:
    """Return the p value of the true mean being worse than a limit, from its own interval."""
    interval = candidate.estimates[limit.metric].interval
    if interval.low is None or interval.high is None or interval.degrees is None:
        return 1.0
    values = np.array([interval.mean, interval.high, limit.bound])
    if limit.metric in ACCURACIES:
        values = logit(np.clip(values, 0.0, 1.0))
    mean, high, bound = values.tolist()
    gap = bound - mean if limit.kind == "max" else mean - bound
    error = (high - mean) / float(stdtrit(interval.degrees, 0.5 + LEVEL / 2))
    if not error > 0.0:  # nothing varies
        return 0.0 if gap >= 0.0 else 1.0
    return float(stdtr(interval.degrees, -gap / error))


def _kept(limit: MetricLimit, candidate: Candidate, basis: DecisionBasis) -> bool:
    value = candidate.estimates[limit.metric].value(basis)
    return value <= limit.bound if limit.kind == "max" else value >= limit.bound


def _excess(candidate: Candidate, basis: DecisionBasis) -> float:
    """Return the sum of the amounts by which limits are violated."""
    return sum(
        (1.0 if limit.kind == "max" else -1.0)
        * (candidate.estimates[limit.metric].value(basis) - limit.bound)
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
