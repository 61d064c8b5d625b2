"""Early stopping at task ends: which configurations go on from a rung.

Successive halving (Jamieson and Talwalkar 2016) by one metric, or by the ranks of non-dominated
sorting (Deb et al. 2002) for several, as in multi-objective ASHA (Schmucker et al. 2021), but
synchronous: what finished first decides nothing. At a rung all configurations stand after the same
tasks of the same orders with the same seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from clmethods.canonical import derive_seed
from clmethods.metrics import Direction
from sweeps.analysis.front.pareto import front, gains
from sweeps.definition.stopping import EarlyStop
from sweeps.search.scores import Scores, known, mean, one_set_of_cells

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungDecision:
    """What a rung decided. Configurations are named by config_id, the best first."""

    tasks: int
    """How many tasks had been learned."""
    kept: tuple[str, ...]
    """They go on to the next rung."""
    stopped: tuple[str, ...]
    """All others that were to be decided, those of the audit included."""
    audited: tuple[str, ...]
    """Stopped ones that learn their remaining tasks all the same, and stand at no further rung."""
    because: dict[str, str]
    """The reason for each of them, in words."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """One configuration at a rung."""

    config_id: str
    failures: int
    front: int
    """0 is the front, 1 the front without it, and so on; failed ones stand behind all."""
    place: int
    """Within the front, from 0; all of a tie have different places."""
    figures: str


def decide_rung(
    scores: Scores,
    rule: EarlyStop,
    objectives: Mapping[str, Direction],
    tasks: int,
    *,
    decided: Collection[str] = (),
) -> RungDecision:
    """Which configurations go on after `tasks` tasks.

    `scores` holds every configuration that reached this rung, each with the metrics after that
    task in the same cells. Those in `decided` were decided when an earlier batch stood here: the
    others are ranked among them, and they keep what was said. Of all n, those ranked within the
    first ceil(n / reduction_factor) go on.

    The rank is by the mean over the cells. `asha`: by the metric. `non_dominated`: front after
    front, so that whoever dominates a configuration that goes on goes on too; within a front the
    most crowded one (`_spread_out`) goes last. A metric that is undefined for everybody is left
    out. Configurations of which a run failed, or lacks a metric that others have, rank last. Ties
    go by config_id, so the sequence of `scores` does not matter.

    Of the s that stop, `rule.audit` s are audited, rounded up or down so that it is the expected
    number; who and how is drawn from (rule.seed, tasks, the config_ids), and so is repeatable.

    Raises ValueError unless all configurations have the same cells, naming those that are missing.
    """
    one_set_of_cells(scores)
    ranking = rule.ranking(objectives)
    standings = _ranked(scores, ranking)
    budget = ceil(round(len(standings) / rule.reduction_factor, 9))
    going = {standing.config_id for standing in standings[:budget]}
    new = [standing.config_id for standing in standings if standing.config_id not in decided]
    kept = tuple(config_id for config_id in new if config_id in going)
    stopped = tuple(config_id for config_id in new if config_id not in going)
    audited = _audited(stopped, rule, tasks)
    because: dict[str, str] = {}
    for rank, standing in enumerate(standings):
        if standing.config_id in new:
            verdict = "goes on" if rank < budget else "stops"
            audit = ", but runs on for the audit" if standing.config_id in audited else ""
            because[standing.config_id] = (
                f"{verdict} after {_count(tasks, 'task')}: rank {rank + 1} of {len(standings)}, "
                f"of which {budget} go on ({_why(standing, rule)}{standing.figures}){audit}"
            )
    return RungDecision(tasks=tasks, kept=kept, stopped=stopped, audited=audited, because=because)


def _ranked(scores: Scores, ranking: Mapping[str, Direction]) -> list[_Standing]:
    """All configurations, the best first."""
    ids = sorted(scores)
    failures = {c: sum(not run for run in scores[c].values()) for c in ids}
    means = {c: _means(scores, c, ranking) for c in ids}
    held = [name for name in ranking if any(means[c][name] is not None for c in ids)]
    sound = [c for c in ids if not failures[c] and all(means[c][n] is not None for n in held)]
    points = np.array([[means[c][name] for name in held] for c in sound], dtype=np.float64)
    points = points.reshape(len(sound), len(held))
    places = _fronts(points, [ranking[name] for name in held])
    figures = {
        c: ", ".join(f"{n} {value:.4g}" for n in held if (value := means[c][n]) is not None)
        for c in ids
    }
    standings = [
        _Standing(sound[row], 0, level, place, figures[sound[row]])
        for level, rows in enumerate(places)
        for place, row in enumerate(rows)
    ]
    behind = sorted((c for c in ids if c not in sound), key=lambda c: (failures[c], c))
    return standings + [
        _Standing(c, failures[c], len(places), place, figures[c]) for place, c in enumerate(behind)
    ]


def _means(
    scores: Scores, config_id: str, names: Mapping[str, Direction]
) -> dict[str, float | None]:
    """Each metric over the runs of a configuration; None unless every run has it."""
    found: dict[str, float | None] = {}
    for name in names:
        values = [known(run, name) for run in scores[config_id].values()]
        there = [value for value in values if value is not None]
        found[name] = mean(there) if there and len(there) == len(values) else None
    return found


def _fronts(points: Values, directions: Sequence[Direction]) -> list[list[int]]:
    """Rows of the finite points (N, M) front after front, each in the sequence in which it is
    kept. Without any objective all are one front."""
    left = np.arange(len(points))
    if not directions:
        return [left.tolist()] if len(left) else []
    gain = gains(points, directions)  # (N, M)
    found: list[list[int]] = []
    while len(left):
        best = front(gain[left], ["max"] * gain.shape[1])
        found.append([int(left[best][k]) for k in _spread_out(gain[left[best]])])
        left = left[~best]
    return found


def _spread_out(gain: Values) -> list[int]:
    """Rows of a front (N, M) in the sequence in which to keep them, so that any first few of them
    cover it well: the most crowded is taken out again and again, and comes last.

    Crowding is the distance between the neighbours on both sides in each objective, over the
    range of the front, added up (Deb et al. 2002); taken anew after each removal, so that of two
    that are close together one stays. Ends have no neighbour on one side and stay longest. Of
    equally crowded rows the last goes first.
    """
    span = np.ptp(gain, axis=0)
    scaled = gain[:, span > 0] / span[span > 0]
    left, out = np.arange(len(gain)), list[int]()
    while len(left):
        room = _room(scaled[left])
        crowded = int(np.flatnonzero(room <= room.min() + 1e-12)[-1])
        out.append(int(left[crowded]))
        left = np.delete(left, crowded)
    return out[::-1]


def _room(points: Values) -> Values:
    """Crowding distance (N,) of rows (N, M); infinite at the ends of an objective."""
    room = np.zeros(len(points))
    for column in points.T:
        by_value = np.argsort(column, kind="stable")
        gap = np.full(len(points), np.inf)
        gap[1:-1] = column[by_value][2:] - column[by_value][:-2]
        room[by_value] += gap
    return room


def _audited(stopped: Sequence[str], rule: EarlyStop, tasks: int) -> tuple[str, ...]:
    """The configurations that run on, in the sequence of `stopped`."""
    draw = {c: _fraction(rule.seed, tasks, c) for c in stopped}
    count = floor(rule.audit * len(stopped) + _fraction(rule.seed, tasks, *sorted(stopped)))
    chosen = sorted(stopped, key=lambda c: (draw[c], c))[:count]
    return tuple(c for c in stopped if c in chosen)


def _fraction(seed: int, *purpose: str | int) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return (derive_seed(seed, "early_stop", "audit", *purpose) >> 10) / 2**53


def _why(standing: _Standing, rule: EarlyStop) -> str:
    if standing.failures:
        failed = _count(standing.failures, "run")
        return f"{failed} failed" + ("; " if standing.figures else "")
    return f"front {standing.front + 1}; " if rule.kind == "non_dominated" else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
