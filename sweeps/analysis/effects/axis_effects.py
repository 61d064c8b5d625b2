"""What an axis does: every value against the baseline value, all else and all luck equal.

Two configurations that differ in one axis only are a matched pair; their difference in one order
with one seed holds neither the other axes nor that order and seed. The effect of a value is the
mean over the pairs, cell by cell, with the interval over orders and seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from clmethods.canonical import canonical_json
from clmethods.errors import nearest, refuse, require
from sweeps.analysis.runs.paired_differences import Comparison, compare_samples
from sweeps.analysis.runs.replicates import Cell, Replicates, Sample

MOST_VALUES = 24
"""Values of an axis beyond which its effects are not asked for."""

Point = Mapping[str, Any]
"""Values of a configuration on the axes, by dotted path."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A searched field that takes more than one value."""

    path: str
    values: tuple[Any, ...]
    """In the order in which the configurations have them; the first is the baseline."""

    @property
    def baseline(self) -> Any:
        """The value that the others are held against."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Effect:
    """A value less the baseline value of one axis."""

    path: str
    value: Any
    baseline: Any
    pairs: int
    """Matched pairs of configurations; 0: the sweep has none, and there is no effect."""
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class Interaction:
    """How much the effect of one value changes where another axis takes its other value."""

    first: Effect
    second: Effect
    squares: int
    """Settings of the other axes in which all four combinations ran."""
    comparison: Comparison | None


def points_of(trials: pa.Table) -> dict[str, Point]:
    """Factors of the searched configurations, by config_id."""
    columns = trials.select(["config_id", "role", "factors"]).to_pylist()
    return {
        row["config_id"]: json.loads(row["factors"]) for row in columns if row["role"] == "search"
    }


def axes_of(points: Mapping[str, Point], baselines: Mapping[str, str] | None = None) -> list[Axis]:
    """The axes that vary, each with its baseline value first.

    `baselines` names other baseline values, by path and as JSON (`0.2`, `ones`). Raises
    `InvalidConfigError` for a path that does not vary and a value that it does not take.
    """
    requested = dict(baselines or {})
    found: dict[str, dict[str, Any]] = {}
    for point in points.values():
        for path, value in point.items():
            found.setdefault(path, {}).setdefault(canonical_json(value), value)
    varying = {path: values for path, values in found.items() if len(values) > 1}
    refuse(
        require(
            path in varying,
            "--baseline",
            path,
            f"one of {list(varying)}",
            nearest(path, list(varying)),
        )
        for path in requested
    )
    axes = []
    for path, values in varying.items():
        keys = sorted(values, key=lambda key: _rank(values[key]))
        if path in requested:
            spelt = [key for key in keys if requested[path] in {key, str(values[key])}]
            constraint = f"one of {[values[key] for key in keys]}"
            refuse([require(bool(spelt), f"--baseline {path}", requested[path], constraint)])
            keys = [*spelt, *(key for key in keys if key not in spelt)]
        axes.append(Axis(path, tuple(values[key] for key in keys)))
    return axes


def comparable(axes: Sequence[Axis]) -> tuple[list[Axis], list[str]]:
    """The axes to ask for effects, and the paths of those that have too many values for it.

    Pairs must agree on every axis, so those of more than `MOST_VALUES` stay, with their baseline
    alone: they are matched on, and not asked for. No two points of a continuous axis are alike.
    """
    many = [axis.path for axis in axes if len(axis.values) > MOST_VALUES]
    asked = [Axis(axis.path, axis.values[:1]) if axis.path in many else axis for axis in axes]
    return asked, many


def _rank(value: Any) -> tuple[int, float]:
    """Numbers ascending; other values stay in the order in which they were found."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value)) if number else (1, 0.0)


def axis_effects(
    found: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[Axis],
    metric: str,
    *,
    fixed_orders: bool = False,
) -> list[Effect]:
    """Every value of every axis against the axis's baseline.

    Configurations without a run that has the metric, such as those that were stopped early, are in
    no pair; `without_runs` names them.
    """
    index = _index(found, points, axes, metric)
    return list(_singles(index, axes, metric, fixed_orders).values())


def interactions(
    found: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[Axis],
    metric: str,
    *,
    fixed_orders: bool = False,
) -> list[Interaction]:
    """Every pair of values of two axes: the difference of the matched differences."""
    index = _index(found, points, axes, metric)
    single = _singles(index, axes, metric, fixed_orders)
    rows = []
    for a, b in combinations(range(len(axes)), 2):
        settings = _at_baseline(index, (a, b))
        for v in range(1, len(axes[a].values)):
            for w in range(1, len(axes[b].values)):
                matched = _matched(index, settings, [{a: v, b: w}, {b: w}, {a: v}, {}])
                sample, lost = _averaged(matched, (1.0, -1.0, -1.0, 1.0), metric)
                rows.append(
                    Interaction(
                        single[a, v],
                        single[b, w],
                        len(matched),
                        compare_samples(sample, metric, lost, fixed_orders=fixed_orders),
                    )
                )
    return rows


Setting = tuple[int, ...]
"""Where a configuration stands on each axis: the place of its value, -1 without one."""
Index = Mapping[Setting, Replicates]


def _index(
    found: Sequence[Replicates], points: Mapping[str, Point], axes: Sequence[Axis], metric: str
) -> Index:
    """Configurations that have the metric by their values on the axes."""
    places = [{canonical_json(v): k for k, v in enumerate(axis.values)} for axis in axes]

    def setting(point: Point) -> Setting:
        return tuple(
            known.get(canonical_json(point.get(axis.path)), -1)
            for axis, known in zip(axes, places, strict=True)
        )

    return {
        setting(points[one.config_id]): one
        for one in found
        if one.config_id in points and one.metrics[metric]
    }


def _singles(
    index: Index, axes: Sequence[Axis], metric: str, fixed_orders: bool
) -> dict[tuple[int, int], Effect]:
    """Effects by the place of the axis and the place of the value on it."""
    found = {}
    for a, axis in enumerate(axes):
        settings = _at_baseline(index, (a,)) if len(axis.values) > 1 else []
        for place, value in enumerate(axis.values[1:], 1):
            matched = _matched(index, settings, [{a: place}, {}])
            sample, lost = _averaged(matched, (1.0, -1.0), metric)
            comparison = compare_samples(sample, metric, lost, fixed_orders=fixed_orders)
            found[a, place] = Effect(axis.path, value, axis.baseline, len(matched), comparison)
    return found


def _at_baseline(index: Index, varied: tuple[int, ...]) -> list[Setting]:
    """The settings that have the varied axes at their baselines: each of the others once."""
    return [setting for setting in index if all(setting[a] == 0 for a in varied)]


def _matched(
    index: Index, settings: Sequence[Setting], changes: Sequence[Mapping[int, int]]
) -> list[list[Replicates]]:
    """For each setting, the configurations that `changes` ask for, by axis and place of the value.

    Settings that lack one are left out.
    """
    rows = []
    for setting in settings:
        requested = [
            tuple(change.get(a, place) for a, place in enumerate(setting)) for change in changes
        ]
        if all(name in index for name in requested):
            rows.append([index[name] for name in requested])
    return rows


def _averaged(
    matched: Sequence[Sequence[Replicates]], signs: Sequence[float], metric: str
) -> tuple[Sample, int]:
    """The signed sums over the cells that all of the matched configurations have, averaged over
    the settings; and how many cells some lack."""
    tables = [[one.metrics[metric] for one in row] for row in matched]
    every: dict[Cell, None] = dict.fromkeys(c for row in tables for table in row for c in table)
    cells = [cell for cell in every if all(cell in table for row in tables for table in row)]
    values = [
        float(
            np.mean(
                [
                    sum(sign * table[cell] for sign, table in zip(signs, row, strict=True))
                    for row in tables
                ]
            )
        )
        for cell in cells
    ]
    sample = Sample(np.array(values), tuple(o for o, _ in cells), tuple(s for _, s in cells))
    return sample, len(every) - len(cells)
