"""Effects of single axes: each value of an axis compared with its baseline value.

Two configurations that differ in exactly one axis form a matched pair. Their difference in one
order with one seed does not depend on the other axes, nor on what that order and seed add to both.
The effect of a value is the mean difference over all pairs, computed cell by cell, with an
interval over orders and seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pyarrow as pa

from clmethods.canonical import SettingValue, canonical_json
from clmethods.errors import nearest, refuse, require
from sweeps.analysis.trials.paired_differences import Comparison, adjusted, compare_samples
from sweeps.analysis.trials.replicates import Cell, Replicates, Sample

MOST_VALUES = 24
"""Maximum number of values of an axis whose effects are computed."""

Point = Mapping[str, SettingValue]
"""Values of a configuration, by the dotted path of the axis."""


@dataclass(frozen=True, slots=True)
class AnalyzedAxis:
    """Searched field that takes more than one value."""

    path: str
    values: tuple[SettingValue, ...]
    """Values in the order in which the configurations have them; the first is the baseline."""

    @property
    def baseline(self) -> SettingValue:
        """Value with which the others are compared."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class ValueEffect:
    """Difference between a value of one axis and the baseline value of that axis."""

    path: str
    value: SettingValue
    baseline: SettingValue
    pairs: int
    """Number of matched pairs of configurations; if it is 0, there is no effect."""
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class ValueInteraction:
    """Change of the effect of one value when another axis leaves its baseline value."""

    first: ValueEffect
    second: ValueEffect
    squares: int
    """Number of settings of the other axes for which all four combinations were run."""
    comparison: Comparison | None


def searched_points(trials: pa.Table) -> dict[str, Point]:
    """Return the factors of the searched configurations, by config_id."""
    columns = trials.select(["config_id", "role", "factors"]).to_pylist()
    return {
        row["config_id"]: json.loads(row["factors"]) for row in columns if row["role"] == "search"
    }


def varied_axes(
    points: Mapping[str, Point], baselines: Mapping[str, str] | None = None
) -> list[AnalyzedAxis]:
    """Return the axes that vary, each with its baseline value first.

    `baselines` sets other baseline values, by path and as JSON (`0.2`, `ones`).

    Raises:
        InvalidConfigError: If a path does not vary, or if an axis does not take the value.
    """
    requested = dict(baselines or {})
    values_by_path: dict[str, dict[str, SettingValue]] = {}
    for point in points.values():
        for path, value in point.items():
            values_by_path.setdefault(path, {}).setdefault(canonical_json(value), value)
    varying = {path: values for path, values in values_by_path.items() if len(values) > 1}
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
            selected = [key for key in keys if requested[path] in {key, str(values[key])}]
            constraint = f"one of {[values[key] for key in keys]}"
            refuse([require(bool(selected), f"--baseline {path}", requested[path], constraint)])
            keys = [*selected, *(key for key in keys if key not in selected)]
        axes.append(AnalyzedAxis(path, tuple(values[key] for key in keys)))
    return axes


def axes_to_compare(axes: Sequence[AnalyzedAxis]) -> tuple[list[AnalyzedAxis], list[str]]:
    """Return the axes to analyze, and the paths of those with too many values.

    The configurations of a pair must agree on all other axes. Axes with more than `MOST_VALUES`
    values are therefore kept for matching, with their baseline only, and have no effects of their
    own: two points of a continuous axis are never equal.
    """
    skipped = [axis.path for axis in axes if len(axis.values) > MOST_VALUES]
    analyzed = [
        AnalyzedAxis(axis.path, axis.values[:1]) if axis.path in skipped else axis for axis in axes
    ]
    return analyzed, skipped


def _rank(value: SettingValue) -> tuple[int, float]:
    """Return a sort key: numbers in ascending order; other values keep their order."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, float(value)
    return 1, 0.0


def axis_effects(
    configurations: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[AnalyzedAxis],
    metric: str,
    *,
    fixed_orders: bool = False,
) -> list[ValueEffect]:
    """Return the effect of every value of every axis relative to the baseline of that axis.

    The p values are adjusted for the number of effects.
    Configurations without a run that has the metric, for example because of early stopping, are
    part of no pair. `without_runs` lists them.
    """
    index = _index(configurations, points, axes, metric)
    effects = [*_singles(index, axes, metric, fixed_orders).values()]
    comparisons = adjusted([effect.comparison for effect in effects])
    return [replace(e, comparison=c) for e, c in zip(effects, comparisons, strict=True)]


def interactions(
    configurations: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[AnalyzedAxis],
    metric: str,
    *,
    fixed_orders: bool = False,
) -> list[ValueInteraction]:
    """Return the interaction of every pair of values of two axes: a difference of differences.

    The p values are adjusted for the number of interactions.
    """
    index = _index(configurations, points, axes, metric)
    single = _singles(index, axes, metric, fixed_orders)
    rows = []
    for a, b in combinations(range(len(axes)), 2):
        settings = _at_baseline(index, (a, b))
        for v in range(1, len(axes[a].values)):
            for w in range(1, len(axes[b].values)):
                matched = _matched(index, settings, [{a: v, b: w}, {b: w}, {a: v}, {}])
                sample, incomplete = _averaged(matched, (1.0, -1.0, -1.0, 1.0), metric)
                rows.append(
                    ValueInteraction(
                        single[a, v],
                        single[b, w],
                        len(matched),
                        compare_samples(sample, metric, incomplete, fixed_orders=fixed_orders),
                    )
                )
    comparisons = adjusted([row.comparison for row in rows])
    return [replace(row, comparison=c) for row, c in zip(rows, comparisons, strict=True)]


Setting = tuple[int, ...]
"""Index of the value of a configuration on each axis; -1 if the axis has no such value."""
Index = Mapping[Setting, Replicates]


def _index(
    configurations: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[AnalyzedAxis],
    metric: str,
) -> Index:
    """Return the configurations that have the metric, by their setting."""
    places = [{canonical_json(v): k for k, v in enumerate(axis.values)} for axis in axes]

    def setting(point: Point) -> Setting:
        return tuple(
            known.get(canonical_json(point.get(axis.path)), -1)
            for axis, known in zip(axes, places, strict=True)
        )

    return {
        setting(points[configuration.config_id]): configuration
        for configuration in configurations
        if configuration.config_id in points and configuration.metrics[metric]
    }


def _singles(
    index: Index, axes: Sequence[AnalyzedAxis], metric: str, fixed_orders: bool
) -> dict[tuple[int, int], ValueEffect]:
    """Return the effects by index of the axis and index of the value on it."""
    effects = {}
    for a, axis in enumerate(axes):
        settings = _at_baseline(index, (a,)) if len(axis.values) > 1 else []
        for place, value in enumerate(axis.values[1:], 1):
            matched = _matched(index, settings, [{a: place}, {}])
            sample, incomplete = _averaged(matched, (1.0, -1.0), metric)
            comparison = compare_samples(sample, metric, incomplete, fixed_orders=fixed_orders)
            effects[a, place] = ValueEffect(
                axis.path, value, axis.baseline, len(matched), comparison
            )
    return effects


def _at_baseline(index: Index, varied: tuple[int, ...]) -> list[Setting]:
    """Return the settings with the varied axes at their baseline."""
    return [setting for setting in index if all(setting[a] == 0 for a in varied)]


def _matched(
    index: Index, settings: Sequence[Setting], changes: Sequence[Mapping[int, int]]
) -> list[list[Replicates]]:
    """Return the configurations that result from applying each of `changes` to each setting.

    A change maps the index of an axis to the index of a value. A setting is left out if one of its
    configurations does not exist.
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
    """Return signed sums, averaged over the settings, and the number of incomplete cells.

    The sums are taken over the cells that all matched configurations have.
    """
    tables = [[configuration.metrics[metric] for configuration in row] for row in matched]
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
