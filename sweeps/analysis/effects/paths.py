"""From one configuration to another, one factor at a time, over configurations that were run.

An ablation path says what each change was worth where it was made (Fawcett and Hoos 2016). Here
every step is a configuration with runs of its own, never a prediction; where steps are missing,
the fewest that would complete a path are named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clmethods.canonical import canonical_json
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from clmethods.metrics import Direction
from sweeps.analysis.effects.axis_effects import Point
from sweeps.analysis.runs.paired_differences import Comparison, compare
from sweeps.analysis.runs.replicates import Replicates, sample
from sweeps.statistics.intervals import Interval, mean_interval

MAX_FACTORS = 12
"""Most factors between two configurations for which all 2^n settings between are weighed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One factor on its way from one value to another."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True, slots=True)
class Step:
    """One configuration of a path, with what the change that leads to it was worth."""

    config_id: str
    change: Change | None
    """None for the first."""
    interval: Interval | None
    """Of the metric; None without runs that have it."""
    comparison: Comparison | None
    """This one less the one before, paired; None for the first and without common runs."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The fewest configurations that would complete a path."""

    changes: tuple[Change, ...]
    """In the order of the path."""
    points: tuple[dict[str, Any], ...]
    """All settings of the path, from the start to the end."""
    missing: tuple[dict[str, Any], ...]
    """Those of them that have no runs."""


def find_configuration(name: str, found: Sequence[Replicates], place: str) -> str:
    """The config_id of a label, an id, or the beginning of an id. Raises `InvalidConfigError`."""
    labels = {one.label: one.config_id for one in found}
    if name in labels:
        return labels[name]
    ids = dict.fromkeys(one.config_id for one in found if one.config_id.startswith(name))
    if len(ids) == 1:
        return next(iter(ids))
    constraint = f"a configuration by its label or id, one of {list(labels)}"
    raise InvalidConfigError(
        [ConfigIssue(place, name, constraint, nearest(name, list(labels), 0.3))]
    )


def change_between(one: Point, other: Point) -> Change | None:
    """The one factor in which two configurations differ, or None if they differ in more or none.

    A factor that acts in one of them only does not count: where it is idle it can be given any
    value and nothing changes.
    """
    differing = [
        path
        for path, value in one.items()
        if path in other and canonical_json(value) != canonical_json(other[path])
    ]
    if len(differing) != 1:
        return None
    path = differing[0]
    return Change(path, one[path], other[path])


def shortest_paths(
    points: Mapping[str, Point], start: str, end: str, rank: Mapping[str, float], limit: int
) -> list[tuple[str, ...]]:
    """Up to `limit` of the shortest paths between two configurations, as ids.

    Paths that come first climb fastest: among the next steps the one with the highest `rank` is
    taken first. Empty if the configurations between were not run. Raises KeyError for an id that
    is not among `points`.
    """
    names = list(points)
    at = {name: row for row, name in enumerate(names)}
    codes = _coded(list(points.values()))  # (C, F)
    near: dict[str, list[str]] = {}

    def neighbours(name: str) -> list[str]:
        if name not in near:
            here = codes[at[name]]
            differs = (codes != here) & (codes > 0) & (here > 0)
            near[name] = [names[row] for row in np.flatnonzero(differs.sum(axis=1) == 1).tolist()]
        return near[name]

    distance = {end: 0}
    queue = deque([end])
    while queue and start not in distance:
        name = queue.popleft()
        for other in neighbours(name):
            if other not in distance:
                distance[other] = distance[name] + 1
                queue.append(other)
    if start not in distance:
        return []

    def onward(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        here = path[-1]
        if here == end:
            yield path
            return
        closer = [n for n in neighbours(here) if distance.get(n, -1) == distance[here] - 1]
        for name in sorted(closer, key=lambda n: (-rank.get(n, float("-inf")), n)):
            yield from onward((*path, name))

    found = []
    for path in onward((start,)):
        found.append(path)
        if len(found) == limit:
            break
    return found


def path_steps(
    path: Sequence[str],
    points: Mapping[str, Point],
    found: Mapping[str, Replicates],
    metric: str,
    *,
    fixed_orders: bool = False,
) -> list[Step]:
    """The metric of every configuration of a path, and its paired difference to the one before.

    `found` holds the replicates of one split by config_id.
    """
    steps = []
    for index, name in enumerate(path):
        one = found.get(name)
        values = None if one is None else sample(one, metric)
        interval = None
        if values is not None and len(values):
            interval = mean_interval(
                values.values, values.orders, values.seeds, fixed_orders=fixed_orders
            )
        before = found.get(path[index - 1]) if index else None
        steps.append(
            Step(
                name,
                change_between(points[path[index - 1]], points[name]) if index else None,
                interval,
                None
                if one is None or before is None
                else compare(one, before, metric, fixed_orders=fixed_orders),
            )
        )
    return steps


def ranks(found: Sequence[Replicates], metric: str, direction: Direction) -> dict[str, float]:
    """The mean of a metric by config_id, turned so that more is better."""
    sign = 1.0 if direction == "max" else -1.0
    return {
        one.config_id: sign * sum(values.values()) / len(values)
        for one in found
        if (values := one.metrics[metric])
    }


def gap(points: Mapping[str, Point], start: str, end: str) -> Gap:
    """The path from start to end, each factor straight to its value at the end, that lacks least.

    `points` are the configurations that have runs. Factors that act at one end only have that
    end's value all along. Raises `InvalidConfigError` for more than `MAX_FACTORS` factors.
    """
    first, last = points[start], points[end]
    always = {**last, **first}
    factors = [
        path
        for path in first
        if path in last and canonical_json(first[path]) != canonical_json(last[path])
    ]
    if len(factors) > MAX_FACTORS:
        constraint = f"two configurations that differ in at most {MAX_FACTORS} factors"
        raise InvalidConfigError([ConfigIssue("A B", len(factors), constraint)])
    between = _frozen(first) | _frozen(last)
    run = [at for point in points.values() if (at := _frozen(point)) <= between]

    def setting(taken: int) -> dict[str, Any]:
        over = {path: last[path] for i, path in enumerate(factors) if taken >> i & 1}
        return always | over

    def lacks(taken: int) -> int:
        at = _frozen(setting(taken))
        return 0 if any(point <= at for point in run) else 1

    full = (1 << len(factors)) - 1
    cost, step = {0: lacks(0)}, dict[int, int]()
    for taken in range(1, full + 1):  # every subset comes after its own subsets
        before = [(cost[taken & ~(1 << i)], i) for i in range(len(factors)) if taken >> i & 1]
        best, step[taken] = min(before)
        cost[taken] = best + lacks(taken)
    order: list[int] = []
    taken = full
    while taken:
        order.append(step[taken])
        taken &= ~(1 << step[taken])
    order.reverse()
    states = [sum(1 << i for i in order[:n]) for n in range(len(order) + 1)]
    settings = tuple(setting(state) for state in states)
    return Gap(
        tuple(Change(factors[i], first[factors[i]], last[factors[i]]) for i in order),
        settings,
        tuple(s for s, state in zip(settings, states, strict=True) if lacks(state)),
    )


def _coded(points: Sequence[Point]) -> npt.NDArray[np.int64]:
    """(C, F) numbers that are equal where values are; 0 where a factor does not act."""
    factors = list(dict.fromkeys(path for point in points for path in point))
    codes = np.zeros((len(points), len(factors)), dtype=np.int64)
    for column, path in enumerate(factors):
        known: dict[str, int] = {}
        for row, point in enumerate(points):
            if path in point:
                text = canonical_json(point[path])
                codes[row, column] = known.setdefault(text, len(known) + 1)
    return codes


def _frozen(point: Point) -> frozenset[tuple[str, str]]:
    """A setting as a set that another can contain: what does not act asks for nothing."""
    return frozenset((path, canonical_json(value)) for path, value in point.items())


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)
