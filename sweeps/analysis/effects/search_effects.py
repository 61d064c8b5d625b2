"""Configurations and axes of a search whose effects are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sweeps.analysis.effects.axis_effects import (
    AnalyzedAxis,
    Point,
    searched_points,
    varied_axes,
)
from sweeps.analysis.trials.metric_choice import Results, chosen_readout
from sweeps.analysis.trials.paired_differences import configurations
from sweeps.analysis.trials.replicates import Replicates, replicates
from sweeps.analysis.trials.summary import summarize

if TYPE_CHECKING:
    from sweeps.definition import Sweep


class VariedSearch(NamedTuple):
    """Searched configurations of a sweep under one readout, with the axes that vary."""

    configurations: list[Replicates]
    points: dict[str, Point]
    """Values on the axes, by config_id."""
    axes: list[AnalyzedAxis]
    readout: str
    metrics: list[str]


def varied_search(
    sweep: Sweep,
    results: Results,
    metrics: Sequence[str] = (),
    readout: str | None = None,
    split: str = "validation",
    baselines: Mapping[str, str] | None = None,
) -> VariedSearch:
    """Return what the effects of the axes are computed from.

    `metrics`: the objectives if it is empty. `baselines`: see `varied_axes`.

    Raises:
        InvalidConfigError: If a metric, the readout or a baseline value does not exist.
    """
    name = chosen_readout(sweep, readout)
    names = list(metrics or sweep.objectives)
    found = replicates(summarize(results.trials, results.evals, split), names)
    searched = [one for one in configurations(found, name, split) if one.role == "search"]
    points = searched_points(results.trials)
    return VariedSearch(searched, points, varied_axes(points, baselines), name, names)
