"""Which configuration to ship: constraints kept for sure, the best of what is left.

A mean that looks best is often luck. So every number that decides is the pessimistic one of two:
the bad end of the 95 % interval of the mean, and the mean in the worst task order that was run.
Only validation accuracy decides; test accuracy is shown beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clmethods.errors import refuse, require
from clmethods.metrics import Direction
from sweeps.analysis.front.hypervolume import knee
from sweeps.analysis.runs.replicates import Cell, Replicates, sample, without_runs
from sweeps.statistics.intervals import Interval, mean_interval

Basis = Literal["pessimistic", "mean"]


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound that must hold: `at most` or `at least`."""

    metric: str
    kind: Literal["max", "min"]
    bound: float

    @property
    def wants(self) -> Direction:
        """The direction in which the metric moves away from the bound."""
        return "min" if self.kind == "max" else "max"

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.kind == 'max' else '>='} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Standing:
    """One metric of one configuration, as it counts when something is decided."""

    interval: Interval
    worst_order: str | None
    """The order with the worst mean over its seeds; None if there is one order only."""
    worst: float
    """That mean."""
    pessimistic: float
    """The worse of the interval's bad end and `worst`; without an interval the worse of the mean
    and `worst`."""

    def value(self, basis: Basis) -> float:
        """The number that decides."""
        return self.pessimistic if basis == "pessimistic" else self.interval.mean


def standing(
    one: Replicates,
    metric: str,
    wants: Direction,
    cells: Sequence[Cell] | None = None,
    *,
    fixed_orders: bool = False,
) -> Standing | None:
    """How the configuration stands in a metric of which `max` or `min` is wanted; None without
    runs that have it."""
    found = sample(one, metric, cells)
    if len(found) == 0:
        return None
    interval = mean_interval(found.values, found.orders, found.seeds, fixed_orders=fixed_orders)
    means = found.by_order()
    worse = min if wants == "max" else max
    order = worse(means, key=lambda name: (means[name], name))
    end = interval.low if wants == "max" else interval.high
    numbers = [interval.mean if end is None else end, means[order]]
    return Standing(interval, order if len(means) > 1 else None, means[order], worse(numbers))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration under a readout, with what it fails."""

    replicates: Replicates
    standings: dict[str, Standing]
    broken: tuple[Limit, ...]
    """Limits that it does not keep, by the basis of the decision."""

    @property
    def name(self) -> str:
        """Label and readout."""
        return f"{self.replicates.label}, readout `{self.replicates.readout_id}`"


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided, and what it was decided against."""

    chosen: Candidate | None
    """None if no configuration keeps every limit."""
    runner_up: Candidate | None
    """The next best that keeps every limit."""
    admissible: tuple[Candidate, ...]
    """All that keep every limit, best first; beyond the runner-up in no order for the knee."""
    refused: tuple[Candidate, ...]
    """Those that break one, the nearest to being admitted first."""
    incomplete: tuple[str, ...]
    """Configurations without any run that has all the metrics, by name, and why."""
    unlimited: Candidate | None
    """What would have been chosen without limits."""


def select(
    found: Sequence[Replicates],
    objectives: Mapping[str, Direction],
    limits: Sequence[Limit],
    prefer: str | None,
    *,
    basis: Basis = "pessimistic",
    cells: Sequence[Cell] | None = None,
    fixed_orders: bool = False,
) -> Choice:
    """Choose among the fair configurations of `found`, which are of one split.

    With `prefer` the one whose preferred metric (a key of `objectives`) is best; without, the knee
    of the front that the objectives span. `basis` says by which number: the pessimistic ones, or
    the means. `cells` restricts the runs that may be looked at. Raises `InvalidConfigError` for a
    limit against its objective's direction.
    """
    refuse(
        require(
            objectives.get(limit.metric, limit.wants) == limit.wants,
            f"--{limit.kind}",
            limit.metric,
            f"a metric that is better {'low' if limit.kind == 'max' else 'high'}",
            f"Use --{'min' if limit.kind == 'max' else 'max'} for it.",
        )
        for limit in limits
    )
    directions = dict(objectives) | {limit.metric: limit.wants for limit in limits}
    candidates: list[Candidate] = []
    incomplete: list[str] = []
    for one in found:
        if not one.fair:
            continue
        held = {
            metric: standing(one, metric, wants, cells, fixed_orders=fixed_orders)
            for metric, wants in directions.items()
        }
        known = {metric: value for metric, value in held.items() if value is not None}
        if len(known) < len(held):
            (why,) = without_runs([one], list(directions)) or ["no run has all the metrics"]
            incomplete.append(f"{one.label}, readout `{one.readout_id}`: {why}")
            continue
        broken = tuple(limit for limit in limits if not _kept(limit, known[limit.metric], basis))
        candidates.append(Candidate(one, known, broken))
    admissible = [c for c in candidates if not c.broken]
    refused = [c for c in candidates if c.broken]
    ranked = _ranked(admissible, objectives, prefer, basis)
    every = _ranked(candidates, objectives, prefer, basis)
    return Choice(
        chosen=ranked[0] if ranked else None,
        runner_up=ranked[1] if len(ranked) > 1 else None,
        admissible=tuple(ranked),
        refused=tuple(sorted(refused, key=lambda c: _excess(c, basis))),
        incomplete=tuple(incomplete),
        unlimited=every[0] if every else None,
    )


def _kept(limit: Limit, held: Standing, basis: Basis) -> bool:
    value = held.value(basis)
    return value <= limit.bound if limit.kind == "max" else value >= limit.bound


def _excess(candidate: Candidate, basis: Basis) -> float:
    """By how much the limits are missed, added up."""
    return sum(
        abs(candidate.standings[limit.metric].value(basis) - limit.bound)
        for limit in candidate.broken
    )


def _ranked(
    candidates: Sequence[Candidate],
    objectives: Mapping[str, Direction],
    prefer: str | None,
    basis: Basis,
) -> list[Candidate]:
    """Best first. Ties go to the better mean, then to the name."""
    if prefer is not None:
        sign = -1.0 if objectives[prefer] == "max" else 1.0

        def place(candidate: Candidate) -> tuple[float, float, str]:
            held = candidate.standings[prefer]
            return sign * held.value(basis), sign * held.interval.mean, candidate.name

        return sorted(candidates, key=place)
    left, ranked = list(candidates), list[Candidate]()
    directions = list(objectives.values())
    while left and len(ranked) < 2:  # the choice and the runner-up; the rest keep their order
        points = np.array([[c.standings[name].value(basis) for name in objectives] for c in left])
        bend = knee(points, directions)
        if bend is None:
            break
        ranked.append(left.pop(bend))
    return [*ranked, *left]
