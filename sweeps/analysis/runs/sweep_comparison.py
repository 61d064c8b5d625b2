"""Two sweeps, or the same sweep run by two versions of the code, held against each other in pairs.

Configurations are matched by their id, which is equal where their runs are; those that are left
by their label, with the fields named in which the runs differ. Runs are matched by order and seed,
so what both had in common cancels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from clmethods.canonical import canonical_json
from sweeps.analysis.runs.paired_differences import Comparison, compare, compare_samples
from sweeps.analysis.runs.replicates import Cell, Replicates, Sample, difference

VARIED = ("seed", "stream.task_order", "stream.class_order_seed", "stream.split_seed")
"""Fields in which the runs of one configuration differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which two runs differ."""

    path: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.path}: {canonical_json(self.first)} | {canonical_json(self.second)}"


@dataclass(frozen=True, slots=True)
class Match:
    """A configuration of the first sweep and its partner in the second, under one readout."""

    first: Replicates
    second: Replicates
    differences: tuple[Difference, ...]
    """Empty where they are the same configuration."""


@dataclass(frozen=True, slots=True)
class Matching:
    """Which configurations have partners, and which have none."""

    matches: tuple[Match, ...]
    only_first: tuple[Replicates, ...]
    only_second: tuple[Replicates, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The second less the first in one metric."""

    match: Match
    comparison: Comparison | None
    """None where they have no run in common."""
    only_first: tuple[Cell, ...]
    """Runs with the metric that the second lacks."""
    only_second: tuple[Cell, ...]


def runs_of(trials: pa.Table) -> dict[str, dict[str, Any]]:
    """The run of each configuration, as nested data."""
    return {
        row["config_id"]: json.loads(row["run"])
        for row in trials.select(["config_id", "run"]).to_pylist()
    }


def code_versions(trials: pa.Table) -> dict[str, int]:
    """How many trials each version of the code recorded, the most frequent first."""
    counts = trials.group_by("code_version").aggregate([("trial_id", "count")]).to_pylist()
    ranked = sorted(counts, key=lambda row: (-row["trial_id_count"], row["code_version"]))
    return {row["code_version"]: row["trial_id_count"] for row in ranked}


def match(
    first: Sequence[Replicates],
    second: Sequence[Replicates],
    runs_first: Mapping[str, Mapping[str, Any]],
    runs_second: Mapping[str, Mapping[str, Any]],
) -> Matching:
    """Partners by config_id, then by label and role; the readout must be the same either way."""
    by_id = {(one.config_id, one.readout_id): one for one in second}
    left = [one for one in first if (one.config_id, one.readout_id) not in by_id]
    partners = [
        (one, by_id[one.config_id, one.readout_id])
        for one in first
        if (one.config_id, one.readout_id) in by_id
    ]
    taken = {id(other) for _, other in partners}
    by_label = {
        (one.label, one.role, one.readout_id): one for one in second if id(one) not in taken
    }
    for one in left:
        other = by_label.pop((one.label, one.role, one.readout_id), None)
        if other is not None:
            partners.append((one, other))
            taken.add(id(other))
    paired = {id(one) for one, _ in partners}
    return Matching(
        tuple(
            Match(one, other, differing(runs_first[one.config_id], runs_second[other.config_id]))
            for one, other in partners
        ),
        tuple(one for one in first if id(one) not in paired),
        tuple(one for one in second if id(one) not in taken),
    )


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Fields in which two runs differ, but for seeds and orders; null where one lacks a field."""
    a, b = _flat(one), _flat(other)
    return tuple(
        Difference(path, a.get(path), b.get(path))
        for path in dict.fromkeys([*a, *b])
        if path not in VARIED and canonical_json(a.get(path)) != canonical_json(b.get(path))
    )


def compare_match(found: Match, metric: str, *, fixed_orders: bool = False) -> Compared:
    """The paired difference of a match, and the runs that have no partner."""
    a, b = found.first.metrics[metric], found.second.metrics[metric]
    one_sided = found.first.order_free != found.second.order_free
    return Compared(
        found,
        compare(found.second, found.first, metric, fixed_orders=fixed_orders),
        () if one_sided else tuple(cell for cell in a if cell not in b),
        () if one_sided else tuple(cell for cell in b if cell not in a),
    )


def compare_all(
    found: Sequence[Match], metric: str, *, fixed_orders: bool = False
) -> Comparison | None:
    """The mean difference over all matches, in the runs that every one of them has.

    None for fewer than two matches and without such runs. Configurations whose one run stands
    for every order are left out.
    """
    samples = [
        difference(one.second, one.first, metric)
        for one in found
        if not (one.first.order_free or one.second.order_free)
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


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        path = f"{prefix}{name}"
        found |= _flat(item, f"{path}.") if isinstance(item, Mapping) else {path: item}
    return found
