"""Estimates of configurations over the runs that all of them have in common.

Means over different orders and seeds are not comparable. Over common runs, the error that all
configurations share does not count for a comparison, and the variances of the rest are moderated
over the configurations (`sweeps.statistics.configuration_means`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from clmethods.metrics import ACCURACIES, Direction
from sweeps.analysis.trials.replicates import Cell, Replicates
from sweeps.analysis.trials.run_blocks import common_values
from sweeps.statistics.configuration_means import (
    FEWEST_TO_SHRINK,
    ConfigurationMeans,
    configuration_means,
    fraction_means,
    shrunken,
)

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SelectedEstimate:
    """Estimate of a mean that also holds after the selection of the best mean."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CommonEstimate:
    """Estimates of one metric of one configuration over common runs."""

    bound: float
    """Worse end of the one-sided 80 % interval, without the error that configurations share."""
    selected: SelectedEstimate | None
    """Shrunken estimate; None for fewer than `FEWEST_TO_SHRINK` configurations."""


@dataclass(frozen=True, slots=True)
class CommonRuns:
    """Estimates of the compared configurations over their common runs."""

    compared: tuple[int, ...]
    """Indices of the configurations that are compared; the others have fewer runs."""
    runs: int
    """Number of common runs; with fixed orders, of common seeds."""
    _models: Mapping[str, ConfigurationMeans]

    def estimates(self, metric: str, direction: Direction) -> list[CommonEstimate]:
        """Return the estimates of a metric, one per compared configuration."""
        model = self._models[metric]
        bounds = _unscaled(metric, model.bounds(1.0 if direction == "max" else -1.0))
        selected: list[SelectedEstimate | None] = [None] * len(bounds)
        if len(bounds) >= FEWEST_TO_SHRINK:
            found = shrunken(model)
            ends = (
                _unscaled(metric, v).tolist() for v in (found.estimates, found.low, found.high)
            )
            selected = [SelectedEstimate(*each) for each in zip(*ends, strict=True)]
        return [CommonEstimate(*each) for each in zip(bounds.tolist(), selected, strict=True)]

    def limit_p_values(self, metric: str, limit: float, direction: Direction) -> Values:
        """Return p values (C,) of the true mean being worse than `limit`."""
        if metric in ACCURACIES:
            if not 0.0 < limit < 1.0:  # every accuracy keeps it, or none for sure
                kept = limit <= 0.0 if direction == "max" else limit >= 1.0
                return np.full(len(self.compared), 0.0 if kept else 1.0)
            limit = float(logit(limit))
        sign = 1.0 if direction == "min" else -1.0
        return self._models[metric].limit_p_values(limit, sign)


def common_runs(
    configurations: Sequence[Replicates],
    metrics: Sequence[str],
    cells: Sequence[Cell] | None = None,
    *,
    fixed_orders: bool = False,
) -> CommonRuns | None:
    """Return the estimates over common runs; None if these do not identify the errors.

    `sweeps.analysis.trials.run_blocks.common_values` selects the configurations and the runs.
    `cells` restricts the runs. With `fixed_orders`, only the seeds count.
    """
    kept = [_restricted(configuration, cells) for configuration in configurations]
    if not kept:
        return None
    common = common_values(kept, metrics, fixed_orders=fixed_orders)
    if common is None:
        return None
    models = {}
    for place, metric in enumerate(metrics):
        means = fraction_means if metric in ACCURACIES else configuration_means
        model = means(common.values[:, place], common.cells)
        if model is None:
            return None
        models[metric] = model
    return CommonRuns(common.compared, len(common.cells), models)


def _restricted(configuration: Replicates, cells: Sequence[Cell] | None) -> Replicates:
    if cells is None:
        return configuration
    kept = set(cells)
    return replace(
        configuration,
        metrics={
            name: {cell: value for cell, value in values.items() if cell in kept}
            for name, values in configuration.metrics.items()
        },
        absent={cell: why for cell, why in configuration.absent.items() if cell in kept},
    )


def _unscaled(metric: str, values: Values) -> Values:
    return np.asarray(expit(values)) if metric in ACCURACIES else values
