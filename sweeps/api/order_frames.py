"""Data frames of the effect of the task order of one sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from clmethods.metrics import METRICS
from sweeps.analysis.orders.order_effect import order_sensitivity
from sweeps.analysis.orders.positions import carry_over, position_effects, task_accuracies
from sweeps.analysis.orders.rankings import extreme_orders
from sweeps.analysis.orders.variance_shares import variance_split
from sweeps.analysis.trials.metric_choice import Results
from sweeps.analysis.trials.paired_differences import configurations
from sweeps.analysis.trials.replicates import Replicates, replicates
from sweeps.analysis.trials.summary import summarize
from sweeps.api.data_frames import frame_of_rows, frame_of_table, interval_columns

if TYPE_CHECKING:
    import pandas as pd

OrderPart = Literal["disparity", "variance", "position", "preceding", "extremes"]
ORDER_PARTS: tuple[OrderPart, ...] = (
    *("disparity", "variance", "position", "preceding", "extremes"),
)
"""Tables about the effect of the task order; see `AnalyzedSweep.orders`."""

_SHARE = ("share", "share_low", "share_high")
_EFFECT = ("effect", "effect_low", "effect_high")


def order_frame(
    results: Results, part: OrderPart, readout: str, split: str, metric: str
) -> pd.DataFrame:
    """Return one of the tables."""
    if part == "disparity":
        rows = order_sensitivity(results.trials, results.evals, readout, split, metric)
        return frame_of_table(rows)
    if part == "position" or part == "preceding":
        return _effects(results, readout, split, part)
    every = replicates(summarize(results.trials, results.evals, split), [metric])
    found = configurations(every, readout, split)
    return _variance(found, metric) if part == "variance" else _extremes(found, metric)


def _variance(found: Sequence[Replicates], metric: str) -> pd.DataFrame:
    """Return the components of the searched configurations, or one row with the reason."""
    split = variance_split([one for one in found if one.role == "search"], metric)
    rows = [
        {
            "source": part.source,
            **interval_columns("share", (part.share, part.share_low, part.share_high)),
            "standard_deviation": part.variance**0.5,
        }
        for part in split.components
    ]
    if split.reason is not None:
        rows = [{"reason": split.reason}]
    columns = ["source", *_SHARE, "standard_deviation", "reason"]
    return frame_of_rows(rows, columns, [*_SHARE, "standard_deviation"])


def _extremes(found: Sequence[Replicates], metric: str) -> pd.DataFrame:
    rows = [row._asdict() for row in extreme_orders(found, metric, METRICS[metric].direction)]
    columns = ["label", "best_order", "best", "worst_order", "worst", "orders"]
    return frame_of_rows(rows, columns, ["best", "worst"])


def _effects(
    results: Results, readout: str, split: str, part: Literal["position", "preceding"]
) -> pd.DataFrame:
    """Return one row per configuration and level, or one with the reason for no effects."""
    fit = position_effects if part == "position" else carry_over
    first = 1 if part == "position" else 0  # stages are counted from 1, tasks from 0
    rows: list[dict[str, object]] = []
    for task in task_accuracies(results.trials, results.evals, readout, split):
        found = fit(task.orders, task.values)
        shared = {"label": task.label, "config_id": task.config_id, "p_value": found.p_value}
        if found.reason is not None:
            rows.append({**shared, "reason": found.reason})
        for level, (effect, half) in enumerate(
            zip(found.effects.tolist(), found.half.tolist(), strict=True), first
        ):
            ends = interval_columns("effect", (effect, effect - half, effect + half))
            rows.append({**shared, "level": level, **ends})
    columns = ["label", "level", *_EFFECT, "p_value", "reason", "config_id"]
    return frame_of_rows(rows, columns, [*_EFFECT, "p_value"])
