"""Early stopping after a number of tasks: selection of the configurations that continue.

Implements successive halving (Jamieson and Talwalkar 2016) with one metric, or with the ranks of
non-dominated sorting (Deb et al. 2002) for several metrics, as in multi-objective ASHA (Schmucker
et al. 2021). It is synchronous: the order in which runs finish has no influence. At a rung, all
configurations have learned the same tasks in the same orders with the same seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.front.dominance import front, gains
from sweeps.definition.stopping import EarlyStop
from sweeps.search.scores import Scores, counted, known, mean, one_set_of_cells

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungDecision:
    """Decision of a rung. Configurations are given by config_id, the best first."""

    tasks: int
    """Number of tasks learned at the rung."""
    kept: tuple[str, ...]
    """Configurations that continue to the next rung."""
    stopped: tuple[str, ...]
    """All other configurations that were decided, including the audited ones."""
    audited: tuple[str, ...]
    """Stopped configurations that learn their remaining tasks and take part in no further rung."""
    because: dict[str, str]
    """Reason for the decision on each configuration, as text."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """Rank of one configuration at a rung."""

    config_id: str
    failures: int
    front: int
    """0 for the Pareto front, 1 for the front without it, and so on; incomplete ones come last."""
    place: int
    """Place within the front, from 0; ties have different places."""
    figures: str
    """Means of the metrics as text."""


def decide_rung(
    scores: Scores,
    rule: EarlyStop,
    objectives: Mapping[str, Direction],
    tasks: int,
    *,
    decided: Collection[str] = (),
) -> RungDecision:
    """Decide which configurations continue after `tasks` tasks.

    `scores` holds each configuration that reached this rung, with the metrics after that task, in
    the same cells for all. The configurations in `decided` were decided in an earlier batch: they
    are part of the ranking, and their decision does not change. Of all n configurations, those
    ranked within the first ceil(n / reduction_factor) continue.

    The rank is based on the means over the cells. `asha` ranks by the metric. `non_dominated`
    ranks front by front, so that a configuration that dominates a continuing one continues too;
    within a front, the most crowded configuration (`_spread_out`) comes last. A metric that is
    undefined for all configurations is ignored. Configurations with a failed run, or without a
    metric that others have, rank last. Ties are resolved by config_id, so that the order of
    `scores` does not matter.

    Of the s stopped configurations, `rule.audit` s are audited. The number is rounded up or down
    at random so that its expectation is exact. The rounding and the selection are derived from
    (rule.seed, tasks, the config_ids) and therefore reproducible.

    Raises:
        ValueError: Unless all configurations have the same cells. The message names the missing
            ones.
    """
    one_set_of_cells(scores)
    ranking = rule.ranking(objectives)
    standings = _ranked(scores, ranking)
    budget = ceil(round(len(standings) / rule.reduction_factor, 9))
    continuing = {standing.config_id for standing in standings[:budget]}
    new = [standing.config_id for standing in standings if standing.config_id not in decided]
    kept = tuple(config_id for config_id in new if config_id in continuing)
    stopped = tuple(config_id for config_id in new if config_id not in continuing)
    audited = _audited(stopped, rule, tasks)
    because: dict[str, str] = {}
    for rank, standing in enumerate(standings):
        if standing.config_id in new:
            verdict = "continues" if rank < budget else "stops"
            audit = ", but runs to the end for the audit" if standing.config_id in audited else ""
            because[standing.config_id] = (
                f"{verdict} after {counted(tasks, 'task')}: rank {rank + 1} of {len(standings)}, "
                f"the best {budget} continue ({_why(standing, rule)}{standing.figures}){audit}"
            )
    return RungDecision(tasks=tasks, kept=kept, stopped=stopped, audited=audited, because=because)


def _ranked(scores: Scores, ranking: Mapping[str, Direction]) -> list[_Standing]:
    """Return all configurations, the best first."""
    ids = sorted(scores)
    failures = {c: sum(not run for run in scores[c].values()) for c in ids}
    means = {c: _means(scores, c, ranking) for c in ids}
    defined = [name for name in ranking if any(means[c][name] is not None for c in ids)]
    complete = [
        c for c in ids if not failures[c] and all(means[c][n] is not None for n in defined)
    ]
    points = np.array([[means[c][name] for name in defined] for c in complete], dtype=np.float64)
    points = points.reshape(len(complete), len(defined))
    places = _fronts(points, [ranking[name] for name in defined])
    descriptions = {
        c: ", ".join(f"{n} {value:.4g}" for n in defined if (value := means[c][n]) is not None)
        for c in ids
    }
    standings = [
        _Standing(complete[row], 0, level, place, descriptions[complete[row]])
        for level, rows in enumerate(places)
        for place, row in enumerate(rows)
    ]
    incomplete = sorted((c for c in ids if c not in complete), key=lambda c: (failures[c], c))
    return standings + [
        _Standing(c, failures[c], len(places), place, descriptions[c])
        for place, c in enumerate(incomplete)
    ]


def _means(
    scores: Scores, config_id: str, names: Mapping[str, Direction]
) -> dict[str, float | None]:
    """Return the mean of each metric over the runs; None unless all runs have it."""
    means: dict[str, float | None] = {}
    for name in names:
        values = [known(run, name) for run in scores[config_id].values()]
        finite = [value for value in values if value is not None]
        means[name] = mean(finite) if finite and len(finite) == len(values) else None
    return means


def _fronts(points: Values, directions: Sequence[Direction]) -> list[list[int]]:
    """Return the rows of the finite points (N, M) by front, each front in order of preference.

    Without any objective, all rows are one front.
    """
    remaining = np.arange(len(points))
    if not directions:
        return [remaining.tolist()] if len(remaining) else []
    gain = gains(points, directions)  # (N, M)
    fronts: list[list[int]] = []
    while len(remaining):
        best = front(gain[remaining], ["max"] * gain.shape[1])
        fronts.append([int(remaining[best][k]) for k in _spread_out(gain[remaining[best]])])
        remaining = remaining[~best]
    return fronts


def _spread_out(gain: Values) -> list[int]:
    """Return the rows of a front (N, M) in order of preference, such that any prefix covers it.

    The most crowded row is removed repeatedly; the first removed row comes last. Crowding is
    measured by the sum over the objectives of the distance between the two neighbors, divided by
    the range of the front (Deb et al. 2002). It is computed anew after each removal, so that one
    of two close rows stays. Extreme rows lack a neighbor and stay longest. Of equally crowded rows
    the last one is removed first.
    """
    span = np.ptp(gain, axis=0)
    scaled = gain[:, span > 0] / span[span > 0]
    remaining, removed = np.arange(len(gain)), list[int]()
    while len(remaining):
        distance = _crowding(scaled[remaining])
        crowded = int(np.flatnonzero(distance <= distance.min() + 1e-12)[-1])
        removed.append(int(remaining[crowded]))
        remaining = np.delete(remaining, crowded)
    return removed[::-1]


def _crowding(points: Values) -> Values:
    """Return crowding distances (N,) of rows (N, M); infinite at the ends of an objective."""
    distance = np.zeros(len(points))
    for column in points.T:
        by_value = np.argsort(column, kind="stable")
        gap = np.full(len(points), np.inf)
        gap[1:-1] = column[by_value][2:] - column[by_value][:-2]
        distance[by_value] += gap
    return distance


def _audited(stopped: Sequence[str], rule: EarlyStop, tasks: int) -> tuple[str, ...]:
    """Return the configurations selected for the audit, in the order of `stopped`."""
    draw = {c: _fraction(rule.seed, tasks, c) for c in stopped}
    count = floor(rule.audit * len(stopped) + _fraction(rule.seed, tasks, *sorted(stopped)))
    chosen = sorted(stopped, key=lambda c: (draw[c], c))[:count]
    return tuple(c for c in stopped if c in chosen)


def _fraction(seed: int, *purpose: str | int) -> float:
    """Return a pseudo-random number in [0, 1) that depends only on the arguments."""
    return (derive_seed(seed, "early_stop", "audit", *purpose) >> 10) / 2**53


def _why(standing: _Standing, rule: EarlyStop) -> str:
    if standing.failures:
        failed = counted(standing.failures, "run")
        return f"{failed} failed" + ("; " if standing.figures else "")
    return f"front {standing.front + 1}; " if rule.kind == "non_dominated" else ""
