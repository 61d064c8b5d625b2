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

from clmethods.config.canonical import canonical_json
from clmethods.config.faults import nearest, refuse, require
from sweeps.analysis.paired import Comparison, compare_samples
from sweeps.analysis.replicates import Cell, Replicates, Sample

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
    wanted = dict(baselines or {})
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
        for path in wanted
    )
    axes = []
    for path, values in varying.items():
        keys = sorted(values, key=lambda key: _rank(values[key]))
        if path in wanted:
            spelt = [key for key in keys if wanted[path] in {key, str(values[key])}]
            law = f"one of {[values[key] for key in keys]}"
            refuse([require(bool(spelt), f"--baseline {path}", wanted[path], law)])
            keys = [*spelt, *(key for key in keys if key not in spelt)]
        axes.append(Axis(path, tuple(values[key] for key in keys)))
    return axes


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
    return [
        _effect(index, axes, a, value, metric, fixed_orders)
        for a, axis in enumerate(axes)
        for value in axis.values[1:]
    ]


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
    rows = []
    for a, b in combinations(range(len(axes)), 2):
        for v in axes[a].values[1:]:
            for w in axes[b].values[1:]:
                changes = [{a: v, b: w}, {b: w}, {a: v}, {}]
                matched = _matched(index, axes, (a, b), changes)
                sample, lost = _averaged(matched, (1.0, -1.0, -1.0, 1.0), metric)
                rows.append(
                    Interaction(
                        _effect(index, axes, a, v, metric, fixed_orders),
                        _effect(index, axes, b, w, metric, fixed_orders),
                        len(matched),
                        compare_samples(sample, metric, lost, fixed_orders=fixed_orders),
                    )
                )
    return rows


Index = Mapping[tuple[str, ...], Replicates]


def _index(
    found: Sequence[Replicates], points: Mapping[str, Point], axes: Sequence[Axis], metric: str
) -> Index:
    """Configurations that have the metric by their values on the axes."""
    return {
        tuple(canonical_json(points[one.config_id].get(axis.path)) for axis in axes): one
        for one in found
        if one.config_id in points and one.metrics[metric]
    }


def _effect(
    index: Index, axes: Sequence[Axis], a: int, value: Any, metric: str, fixed_orders: bool
) -> Effect:
    matched = _matched(index, axes, (a,), [{a: value}, {}])
    sample, lost = _averaged(matched, (1.0, -1.0), metric)
    comparison = compare_samples(sample, metric, lost, fixed_orders=fixed_orders)
    return Effect(axes[a].path, value, axes[a].baseline, len(matched), comparison)


def _matched(
    index: Index,
    axes: Sequence[Axis],
    varied: tuple[int, ...],
    changes: Sequence[Mapping[int, Any]],
) -> list[list[Replicates]]:
    """For each setting of the other axes, the configurations that `changes` ask for: the value
    of an axis, or its baseline. Settings that lack one are left out."""
    rows = []
    for key in index:
        if any(key[a] != canonical_json(axes[a].baseline) for a in varied):
            continue  # each setting once, from where the varied axes are at their baselines
        wanted = [
            tuple(
                canonical_json(change.get(a, axes[a].baseline)) if a in varied else key[a]
                for a in range(len(axes))
            )
            for change in changes
        ]
        if all(name in index for name in wanted):
            rows.append([index[name] for name in wanted])
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
