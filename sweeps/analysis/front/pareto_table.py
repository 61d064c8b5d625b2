"""Rows of the Pareto table of a sweep under one readout, with baselines and references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clmethods.metrics import METRICS
from sweeps.analysis.front.hypervolume import hypervolume, knee, worst_point
from sweeps.analysis.front.lead_over_second import Lead, lead_of_best
from sweeps.analysis.front.membership_probability import front_probability
from sweeps.analysis.front.pareto import pareto_rows
from sweeps.analysis.front.pareto_row import FrontRow
from sweeps.analysis.front.training_free import TrainingFreeComparison, compare_with_training_free
from sweeps.analysis.trials.metric_choice import SPLITS, all_orders
from sweeps.analysis.trials.paired_differences import configurations
from sweeps.analysis.trials.replicates import replicates

if TYPE_CHECKING:
    from sweeps.definition import Sweep


def front_rows(
    sweep: Sweep, summaries: Mapping[str, pa.Table], readout: str, iqm: bool = False
) -> list[FrontRow]:
    """Return one row per configuration, with its objectives on validation and on test images.

    The searched configurations under one readout come first, those on the front before the others.
    The front is computed from the objectives on validation images; those on test images are
    reported alongside. Baselines and references follow for comparison. `summaries` are those of
    `sweeps.analysis.trials.metric_choice`.
    """
    fixed = all_orders(sweep)
    searched, others = _by_role(summaries["validation"], readout)
    rows = pareto_rows(searched, sweep.objectives, fixed_orders=fixed, iqm=iqm)
    comparisons = pareto_rows(others, sweep.objectives, fixed_orders=fixed, iqm=iqm)
    on_test = {
        row.config_id: row.estimates
        for part in _by_role(summaries["test"], readout)
        for row in pareto_rows(part, sweep.objectives, fixed_orders=fixed, iqm=iqm)
    }
    configurations = replicates(searched, list(sweep.objectives))
    probabilities = front_probability(configurations, sweep.objectives, fixed_orders=fixed)
    probability_of = dict(
        zip(
            [configuration.config_id for configuration in configurations],
            probabilities.tolist(),
            strict=True,
        )
    )
    means = [[row.estimates[name].mean for name in sweep.objectives] for row in rows]
    points = np.array(means, dtype=np.float64).reshape(len(rows), len(sweep.objectives))
    knee_row = knee(points, list(sweep.objectives.values()))
    several = sum(row.on_front for row in rows) >= 3
    found = [
        FrontRow(
            row,
            on_test.get(row.config_id, {}),
            p_front=None if isnan(p := probability_of[row.config_id]) else p,
            knee=several and index == knee_row,
        )
        for index, row in enumerate(rows)
    ]
    found += [
        FrontRow(replace(row, on_front=False), on_test.get(row.config_id, {}))
        for row in comparisons
    ]
    first, direction = next(iter(sweep.objectives.items()))
    sign = -1.0 if direction == "max" else 1.0

    def place(row: FrontRow) -> tuple[bool, bool, float]:
        mean = row.mean(first)
        value = float("inf") if mean is None else sign * mean
        return row.role != "search", not row.on_front, value

    return sorted(found, key=place)


class FrontVolume(NamedTuple):
    """Hypervolume of the means of the searched configurations."""

    value: float
    """Hypervolume in the product of the units of the objectives; fractions are not scaled."""
    corner: dict[str, float]
    """Reference point: the worst mean of each objective."""


def front_volume(sweep: Sweep, rows: Sequence[FrontRow]) -> FrontVolume | None:
    """Return the hypervolume of the searched rows; None for one objective or without points."""
    directions = list(sweep.objectives.values())
    points = np.array(
        [[row.mean(name) for name in sweep.objectives] for row in rows if row.role == "search"],
        dtype=np.float64,
    ).reshape(-1, len(directions))
    corner = worst_point(points, directions)
    if len(directions) < 2 or not np.isfinite(corner).all():
        return None
    value = hypervolume(points, directions, corner)
    return FrontVolume(value, dict(zip(sweep.objectives, corner.tolist(), strict=True)))


def training_benefit(
    sweep: Sweep, summaries: Mapping[str, pa.Table], readout: str, metric: str
) -> TrainingFreeComparison | None:
    """Compare the best configuration that trains with the best one that does not train."""
    validation, test = (
        configurations(replicates(summaries[split], [metric]), readout, split) for split in SPLITS
    )
    direction = METRICS[metric].direction
    return compare_with_training_free(
        validation, test, metric, direction, fixed_orders=all_orders(sweep)
    )


def lead_on_validation(
    sweep: Sweep, summaries: Mapping[str, pa.Table], readout: str, metric: str
) -> Lead | None:
    """Return the lead of the best searched configuration on validation images."""
    searched, _ = _by_role(summaries[SPLITS[0]], readout)
    found = replicates(searched, [metric])
    direction = sweep.objectives[metric]
    return lead_of_best(found, metric, direction, fixed_orders=all_orders(sweep))


def _by_role(summary: pa.Table, readout: str) -> tuple[pa.Table, pa.Table]:
    """Return the summaries (searched, others) under a readout.

    Baselines without the readout are included with their readout `last`.
    """
    searched = pc.equal(summary["role"], "search")
    has_readout = pc.equal(summary["readout_id"], readout)
    with_readout = pc.unique(summary.filter(has_readout)["config_id"])
    fallback = pc.and_(
        pc.invert(pc.is_in(summary["config_id"], value_set=with_readout)),
        pc.equal(summary["readout_id"], "last"),
    )
    return (
        summary.filter(pc.and_(searched, has_readout)),
        summary.filter(pc.and_(pc.invert(searched), pc.or_(has_readout, fallback))),
    )
