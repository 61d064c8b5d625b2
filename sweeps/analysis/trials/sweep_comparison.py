"""Comparison of two sweeps, or of one sweep run by two code versions, in pairs of runs.

Configurations are matched by their id, which is equal if their runs are equal. The others are
matched by their label, and the fields in which their runs differ are listed. Runs are matched by
order and seed, so that effects common to both cancel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clmethods.canonical import JsonValue, canonical_json
from sweeps.analysis.trials.paired_differences import Comparison, compare, compare_samples
from sweeps.analysis.trials.replicates import Cell, Replicates, Sample, difference

VARIED = ("seed", "stream.task_order", "stream.class_order_seed", "stream.split_seed")
"""Fields that differ between the runs of one configuration."""


@dataclass(frozen=True, slots=True)
class RunDifference:
    """Field in which two runs differ."""

    path: str
    first: JsonValue
    second: JsonValue

    def __str__(self) -> str:
        return f"{self.path}: {canonical_json(self.first)} | {canonical_json(self.second)}"


@dataclass(frozen=True, slots=True)
class ConfigurationMatch:
    """Configuration of the first sweep with its partner in the second, under one readout."""

    first: Replicates
    second: Replicates
    differences: tuple[RunDifference, ...]
    """Differing fields; empty if both are the same configuration."""


@dataclass(frozen=True, slots=True)
class SweepMatching:
    """Matched configurations of two sweeps, and those without a partner."""

    matches: tuple[ConfigurationMatch, ...]
    only_first: tuple[Replicates, ...]
    only_second: tuple[Replicates, ...]


@dataclass(frozen=True, slots=True)
class MatchComparison:
    """Paired difference second - first of a match in one metric."""

    match: ConfigurationMatch
    comparison: Comparison | None
    """None if they have no common runs."""
    only_first: tuple[Cell, ...]
    """Cells of the first with the metric that the second lacks."""
    only_second: tuple[Cell, ...]


def runs_by_configuration(trials: pa.Table) -> dict[str, dict[str, JsonValue]]:
    """Return the run of each configuration as nested data, by config_id."""
    return {
        row["config_id"]: json.loads(row["run"])
        for row in trials.select(["config_id", "run"]).to_pylist()
    }


def code_versions(trials: pa.Table) -> dict[str, int]:
    """Return the number of trials by code version, the most frequent version first."""
    counts = trials.group_by("code_version").aggregate([("trial_id", "count")]).to_pylist()
    ranked = sorted(counts, key=lambda row: (-row["trial_id_count"], row["code_version"]))
    return {row["code_version"]: row["trial_id_count"] for row in ranked}


def match_configurations(
    first: Sequence[Replicates],
    second: Sequence[Replicates],
    runs_first: Mapping[str, Mapping[str, JsonValue]],
    runs_second: Mapping[str, Mapping[str, JsonValue]],
) -> SweepMatching:
    """Match configurations by config_id, then by label and role, always with the same readout."""
    by_id = {(other.config_id, other.readout_id): other for other in second}
    partners: list[tuple[Replicates, Replicates]] = []
    unmatched: list[Replicates] = []
    for entry in first:
        other = by_id.get((entry.config_id, entry.readout_id))
        if other is None:
            unmatched.append(entry)
        else:
            partners.append((entry, other))
    taken = {id(other) for _, other in partners}
    by_label = {
        (other.label, other.role, other.readout_id): other
        for other in second
        if id(other) not in taken
    }
    for entry in unmatched:
        other = by_label.pop((entry.label, entry.role, entry.readout_id), None)
        if other is not None:
            partners.append((entry, other))
            taken.add(id(other))
    paired = {id(entry) for entry, _ in partners}
    return SweepMatching(
        tuple(
            ConfigurationMatch(
                entry,
                other,
                differing_fields(runs_first[entry.config_id], runs_second[other.config_id]),
            )
            for entry, other in partners
        ),
        tuple(entry for entry in first if id(entry) not in paired),
        tuple(other for other in second if id(other) not in taken),
    )


def differing_fields(
    first: Mapping[str, JsonValue], second: Mapping[str, JsonValue]
) -> tuple[RunDifference, ...]:
    """Return the fields in which two runs differ, except seeds and orders.

    The value of a field that a run lacks is None.
    """
    a, b = _flat(first), _flat(second)
    return tuple(
        RunDifference(path, a.get(path), b.get(path))
        for path in dict.fromkeys([*a, *b])
        if path not in VARIED and canonical_json(a.get(path)) != canonical_json(b.get(path))
    )


def compare_match(
    match: ConfigurationMatch, metric: str, *, fixed_orders: bool = False
) -> MatchComparison:
    """Return the paired difference of a match, and the runs without a partner."""
    a, b = match.first.metrics[metric], match.second.metrics[metric]
    one_sided = match.first.order_free != match.second.order_free
    return MatchComparison(
        match,
        compare(match.second, match.first, metric, fixed_orders=fixed_orders),
        () if one_sided else tuple(cell for cell in a if cell not in b),
        () if one_sided else tuple(cell for cell in b if cell not in a),
    )


def compare_all(
    matches: Sequence[ConfigurationMatch], metric: str, *, fixed_orders: bool = False
) -> Comparison | None:
    """Return the mean difference over all matches, over the runs that all of them have.

    Configurations of methods that do not depend on the order are left out. Return None for fewer
    than two matches, or without common runs.
    """
    samples = [
        difference(match.second, match.first, metric)
        for match in matches
        if not (match.first.order_free or match.second.order_free)
    ]
    if len(samples) < 2:
        return None
    tables: list[dict[Cell, float]] = [
        dict(zip(zip(s.orders, s.seeds, strict=True), s.values.tolist(), strict=True))
        for s in samples
    ]
    every = dict.fromkeys(cell for table in tables for cell in table)
    cells = [cell for cell in every if all(cell in table for table in tables)]
    sample = Sample(
        np.array([float(np.mean([table[cell] for table in tables])) for cell in cells]),
        tuple(order for order, _ in cells),
        tuple(seed for _, seed in cells),
    )
    return compare_samples(sample, metric, len(every) - len(cells), fixed_orders=fixed_orders)


def _flat(value: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {}
    for name, item in value.items():
        path = f"{prefix}{name}"
        values |= _flat(item, f"{path}.") if isinstance(item, Mapping) else {path: item}
    return values
