"""The front of a sweep under one readout, and what its configurations are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clmethods.metrics import METRICS
from sweeps.analysis.front.hypervolume import hypervolume, knee, worst_point
from sweeps.analysis.front.membership_probability import front_probability
from sweeps.analysis.front.pareto import pareto_table
from sweeps.analysis.front.training_free import Need, lora_need
from sweeps.analysis.runs.metric_choice import SPLITS, all_orders
from sweeps.analysis.runs.paired_differences import configurations
from sweeps.analysis.runs.replicates import replicates

if TYPE_CHECKING:
    from sweeps.definition import Sweep


def front_rows(
    sweep: Sweep, summaries: Mapping[str, pa.Table], readout: str, iqm: bool = False
) -> list[dict[str, Any]]:
    """One row per configuration: objectives on validation decide, those on test stand beside.

    The front is that of the searched configurations under one readout. Baselines and references
    follow it, to be compared with: they answer whether the method is worth its cost at all.
    `summaries` are those of `sweeps.analysis.runs.metric_choice`. Keys are the columns of
    `pareto_table`, the same with `test ` before them, `p_front` (`front_probability`; None for
    single runs) and `knee`.
    """
    merged: dict[str, dict[str, Any]] = {}
    fixed = all_orders(sweep)
    for split, prefix in zip(SPLITS, ("", "test "), strict=True):
        searched, others = _by_role(summaries[split], readout)
        rows = pareto_table(searched, sweep.objectives, fixed_orders=fixed, iqm=iqm).to_pylist()
        if not prefix:
            found = replicates(searched, list(sweep.objectives))
            sure = front_probability(found, sweep.objectives, fixed_orders=fixed).tolist()
            share = dict(zip([one.config_id for one in found], sure, strict=True))
            means = [[row[name] for name in sweep.objectives] for row in rows]
            points = np.array(means, dtype=np.float64).reshape(len(rows), len(sweep.objectives))
            bend = knee(points, list(sweep.objectives.values()))
            several = sum(row["on_front"] for row in rows) >= 3
            for index, row in enumerate(rows):
                luck = row["n_replicates"] > 1  # else there is nothing to draw from
                row |= {
                    "p_front": share[row["config_id"]] if luck else None,
                    "knee": several and index == bend,
                }
        beside = pareto_table(others, sweep.objectives, fixed_orders=fixed, iqm=iqm)
        rows += [row | {"on_front": False} for row in beside.to_pylist()]
        for row in rows:
            values = {f"{prefix}{key}": value for key, value in row.items()}
            merged.setdefault(row["config_id"], {}).update(values)
    first, direction = next(iter(sweep.objectives.items()))
    sign = -1.0 if direction == "max" else 1.0

    def place(row: dict[str, Any]) -> tuple[bool, bool, float]:
        value = float("inf") if row[first] is None else sign * row[first]
        return row["role"] != "search", not row["on_front"], value

    return sorted(merged.values(), key=place)


class Volume(NamedTuple):
    """The hypervolume of the searched means."""

    value: float
    """As a product of the objectives' units, fractions as such."""
    corner: dict[str, float]
    """The worst mean of each objective, over which it is taken."""


def front_volume(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> Volume | None:
    """Hypervolume of the searched rows of `front_rows`; None for one objective or no points."""
    directions = list(sweep.objectives.values())
    points = np.array(
        [[row[name] for name in sweep.objectives] for row in rows if row["role"] == "search"],
        dtype=np.float64,
    ).reshape(-1, len(directions))
    corner = worst_point(points, directions)
    if len(directions) < 2 or not np.isfinite(corner).all():
        return None
    value = hypervolume(points, directions, corner)
    return Volume(value, dict(zip(sweep.objectives, corner.tolist(), strict=True)))


def need_of(
    sweep: Sweep, summaries: Mapping[str, pa.Table], readout: str, metric: str
) -> Need | None:
    """Where the best trained configuration stands against the best that trains nothing."""
    validation, test = (
        configurations(replicates(summaries[split], [metric]), readout, split) for split in SPLITS
    )
    direction = METRICS[metric].direction
    return lora_need(validation, test, metric, direction, fixed_orders=all_orders(sweep))


def _by_role(summary: pa.Table, readout: str) -> tuple[pa.Table, pa.Table]:
    """(searched, others) under a readout; a baseline that lacks it is read by `last`."""
    searched = pc.equal(summary["role"], "search")
    routed_here = pc.equal(summary["readout_id"], readout)
    routed = pc.unique(summary.filter(routed_here)["config_id"])
    fallback = pc.and_(
        pc.invert(pc.is_in(summary["config_id"], value_set=routed)),
        pc.equal(summary["readout_id"], "last"),
    )
    return (
        summary.filter(pc.and_(searched, routed_here)),
        summary.filter(pc.and_(pc.invert(searched), pc.or_(routed_here, fallback))),
    )
