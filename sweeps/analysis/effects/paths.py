"""Ablation paths: from one configuration to another, one factor at a time.

An ablation path reports the effect of each change at the point where the change is made (Fawcett
and Hoos 2016). Each step is a configuration that was run, not a prediction. If configurations are
missing, the smallest set that completes a path is reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clmethods.canonical import SettingValue, canonical_json
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from clmethods.metrics import ACCURACIES, Direction
from sweeps.analysis.effects.axis_effects import Point
from sweeps.analysis.trials.paired_differences import Comparison, adjusted, compare
from sweeps.analysis.trials.replicates import Replicates, sample
from sweeps.statistics.intervals import Interval, mean_interval

MAX_FACTORS = 12
"""Maximum number of factors for which all 2^n settings between two configurations are examined."""


@dataclass(frozen=True, slots=True)
class FactorChange:
    """Change of one factor from one value to another."""

    path: str
    before: SettingValue
    after: SettingValue

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True, slots=True)
class PathStep:
    """Configuration of a path, and the effect of the change that leads to it."""

    config_id: str
    change: FactorChange | None
    """None for the first step."""
    interval: Interval | None
    """Interval of the metric; None without runs that have it."""
    comparison: Comparison | None
    """Paired difference from the previous step; None for the first and without common runs."""


@dataclass(frozen=True, slots=True)
class PathGap:
    """Smallest set of configurations that would complete a path."""

    changes: tuple[FactorChange, ...]
    """Changes in the order of the path."""
    points: tuple[Point, ...]
    """All settings of the path, from the start to the end."""
    missing: tuple[Point, ...]
    """Settings of the path without runs."""


def find_configuration(name: str, configurations: Sequence[Replicates], place: str) -> str:
    """Return the config_id for a label, an id or the prefix of an id.

    Raises:
        InvalidConfigError: If no configuration, or more than one, matches.
    """
    labels = {configuration.label: configuration.config_id for configuration in configurations}
    if name in labels:
        return labels[name]
    ids = dict.fromkeys(
        configuration.config_id
        for configuration in configurations
        if configuration.config_id.startswith(name)
    )
    if len(ids) == 1:
        return next(iter(ids))
    constraint = f"a configuration by its label or id, one of {list(labels)}"
    raise InvalidConfigError(
        [ConfigIssue(place, name, constraint, nearest(name, list(labels), 0.3))]
    )


def change_between(first: Point, second: Point) -> FactorChange | None:
    """Return the only factor in which two configurations differ; None for more factors or none.

    A factor that acts in only one of the two does not count: any value can be assigned to it in
    the other without an effect.
    """
    differing = [
        path
        for path, value in first.items()
        if path in second and canonical_json(value) != canonical_json(second[path])
    ]
    if len(differing) != 1:
        return None
    path = differing[0]
    return FactorChange(path, first[path], second[path])


def shortest_paths(
    points: Mapping[str, Point], start: str, end: str, rank: Mapping[str, float], limit: int
) -> list[tuple[str, ...]]:
    """Return up to `limit` of the shortest paths between two configurations, as ids.

    At each step, the neighbor with the highest `rank` is tried first, so that the first paths
    improve fastest. The result is empty if no path of configurations with runs exists.

    Raises:
        KeyError: If an id is not among `points`.
    """
    names = list(points)
    row_of = {name: row for row, name in enumerate(names)}
    codes = _coded(list(points.values()))  # (C, F)
    neighbors_of: dict[str, list[str]] = {}

    def neighbors(name: str) -> list[str]:
        if name not in neighbors_of:
            here = codes[row_of[name]]
            differs = (codes != here) & (codes > 0) & (here > 0)
            neighbors_of[name] = [
                names[row] for row in np.flatnonzero(differs.sum(axis=1) == 1).tolist()
            ]
        return neighbors_of[name]

    distance = {end: 0}
    queue = deque([end])
    while queue and start not in distance:
        name = queue.popleft()
        for other in neighbors(name):
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
        closer = [n for n in neighbors(here) if distance.get(n, -1) == distance[here] - 1]
        for name in sorted(closer, key=lambda n: (-rank.get(n, float("-inf")), n)):
            yield from onward((*path, name))

    paths = []
    for path in onward((start,)):
        paths.append(path)
        if len(paths) == limit:
            break
    return paths


def path_steps(
    path: Sequence[str],
    points: Mapping[str, Point],
    configurations: Mapping[str, Replicates],
    metric: str,
    *,
    fixed_orders: bool = False,
) -> list[PathStep]:
    """Return the metric of each configuration of a path and its difference from the previous one.

    `configurations` holds the replicates of one split by config_id. The p values of the
    differences are adjusted for the number of steps.
    """
    steps = []
    for index, name in enumerate(path):
        configuration = configurations.get(name)
        values = None if configuration is None else sample(configuration, metric)
        interval = None
        if values is not None and len(values):
            interval = mean_interval(
                values.values,
                values.orders,
                values.seeds,
                fixed_orders=fixed_orders,
                fractions=metric in ACCURACIES,
            )
        before = configurations.get(path[index - 1]) if index else None
        steps.append(
            PathStep(
                name,
                change_between(points[path[index - 1]], points[name]) if index else None,
                interval,
                None
                if configuration is None or before is None
                else compare(configuration, before, metric, fixed_orders=fixed_orders),
            )
        )
    comparisons = adjusted([step.comparison for step in steps])
    return [replace(step, comparison=c) for step, c in zip(steps, comparisons, strict=True)]


def signed_means(
    configurations: Sequence[Replicates], metric: str, direction: Direction
) -> dict[str, float]:
    """Return the mean of a metric by config_id, with the sign chosen so that more is better."""
    sign = 1.0 if direction == "max" else -1.0
    return {
        configuration.config_id: sign * sum(values.values()) / len(values)
        for configuration in configurations
        if (values := configuration.metrics[metric])
    }


def smallest_gap(points: Mapping[str, Point], start: str, end: str) -> PathGap:
    """Return the path from `start` to `end` with the fewest missing configurations.

    Each factor changes once, directly to its value at the end. `points` are the configurations
    that have runs. A factor that acts at one end only has the value of that end along the whole
    path.

    Raises:
        InvalidConfigError: If more than `MAX_FACTORS` factors differ.
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

    def setting(taken: int) -> dict[str, SettingValue]:
        over = {path: last[path] for i, path in enumerate(factors) if taken >> i & 1}
        return always | over

    def lacks(taken: int) -> int:
        at = _frozen(setting(taken))
        return 0 if any(point <= at for point in run) else 1

    full = (1 << len(factors)) - 1
    cost, step = {0: lacks(0)}, dict[int, int]()
    for taken in range(1, full + 1):  # every subset comes after all of its own subsets
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
    return PathGap(
        tuple(FactorChange(factors[i], first[factors[i]], last[factors[i]]) for i in order),
        settings,
        tuple(s for s, state in zip(settings, states, strict=True) if lacks(state)),
    )


def _coded(points: Sequence[Point]) -> npt.NDArray[np.int64]:
    """Return (C, F) codes that are equal where values are equal; 0 if the factor does not act."""
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
    """Return a setting as a set; a factor that does not act adds no element."""
    return frozenset((path, canonical_json(value)) for path, value in point.items())


def _shown(value: SettingValue) -> str:
    return value if isinstance(value, str) else canonical_json(value)
