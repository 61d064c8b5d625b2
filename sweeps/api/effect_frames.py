"""Data frames of the effects of the axes of one sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeps.analysis.effects.axis_effects import axes_to_compare, axis_effects, interactions
from sweeps.analysis.effects.search_effects import VariedSearch
from sweeps.api.data_frames import frame_of_rows, interval_columns

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.analysis.trials.paired_differences import Comparison

_NUMBERS = ("difference", "difference_low", "difference_high", "p_value", "adjusted_p_value")


def effect_frame(search: VariedSearch, fixed_orders: bool) -> pd.DataFrame:
    """Return one row per metric, axis and value; see `AnalyzedSweep.effects`."""
    axes, _ = axes_to_compare(search.axes)
    rows = [
        {
            "metric": metric,
            "axis": effect.path,
            "value": effect.value,
            "baseline": effect.baseline,
            "pairs": effect.pairs,
            **_difference(effect.comparison),
        }
        for metric in search.metrics
        for effect in axis_effects(
            search.configurations, search.points, axes, metric, fixed_orders=fixed_orders
        )
    ]
    return _frame(rows, ("metric", "axis", "value", "baseline", "pairs"))


def interaction_frame(search: VariedSearch, fixed_orders: bool) -> pd.DataFrame:
    """Return one row per metric and pair of values; see `AnalyzedSweep.interactions`."""
    axes, _ = axes_to_compare(search.axes)
    rows = [
        {
            "metric": metric,
            "axis": pair.first.path,
            "value": pair.first.value,
            "other_axis": pair.second.path,
            "other_value": pair.second.value,
            "squares": pair.squares,
            **_difference(pair.comparison),
        }
        for metric in search.metrics
        for pair in interactions(
            search.configurations, search.points, axes, metric, fixed_orders=fixed_orders
        )
    ]
    return _frame(rows, ("metric", "axis", "value", "other_axis", "other_value", "squares"))


def _frame(rows: list[dict[str, Any]], head: tuple[str, ...]) -> pd.DataFrame:
    columns = [*head, *_NUMBERS, "significant", "detectable_difference"]
    return frame_of_rows(rows, columns, [*_NUMBERS, "detectable_difference"])


def _difference(found: Comparison | None) -> dict[str, object]:
    """Return a paired difference as columns; numbers without a pair are missing."""
    if found is None:
        return {"significant": False}
    estimate = (found.interval.mean, found.interval.low, found.interval.high)
    return {
        **interval_columns("difference", estimate),
        "p_value": found.p_value,
        "adjusted_p_value": found.adjusted,
        "significant": found.significant,
        "detectable_difference": found.detectable_difference,
    }
