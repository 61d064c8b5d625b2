"""Plots and table cells of paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.trials.paired_differences import Comparison
from sweeps.presentation.text_tables import NOTHING
from sweeps.report import plots
from sweeps.report.formatting import axis_title, unit
from sweeps.statistics.intervals import Interval


def unit_scale(metric: str) -> float:
    """Return the factor from the unit of a metric to the unit of the page."""
    return 100.0 if unit(metric) == "%" else 1.0


def difference_unit(metric: str) -> str:
    """Return the unit of a difference in words."""
    return "in percentage points" if unit(metric) == "%" else "in units"


def forest_plot(
    metric: str, labels: Sequence[str], intervals: Sequence[Interval | None]
) -> plots.PlotPart:
    """Return a forest plot: one row per difference, filled if its interval excludes 0."""
    scale = unit_scale(metric)
    data = []
    for shown, hollow in ((True, False), (False, True)):
        rows = [
            (row, interval)
            for row, interval in enumerate(intervals)
            if interval is not None and bool(interval.significant) is shown
        ]
        if not rows:
            continue
        means = [round(scale * interval.mean, 3) for _, interval in rows]
        ends = [
            [None if e is None else scale * e for e in column]
            for column in zip(*((i.low, i.high) for _, i in rows), strict=True)
        ]
        data.append(
            plots.marker_trace(
                "interval excludes 0" if shown else "interval includes 0, or no interval",
                means,
                [row for row, _ in rows],
                color="@1" if shown else "@muted",
                hollow=hollow,
                error_x=plots.error_bars(means, ends[0], ends[1], "@1" if shown else "@muted"),
            )
        )
    title = "difference / points" if unit(metric) == "%" else f"difference, {axis_title(metric)}"
    look = plots.dot_rows(labels, title, legend=True, whole=True, shapes=[plots.zero_line()])
    return plots.plot_spec(data, look)


def interval_of(comparison: Comparison | None) -> Interval | None:
    """Return the interval of a difference; None if there is no comparison."""
    return None if comparison is None else comparison.interval


def difference_cells(comparison: Comparison | None) -> list[str]:
    """Return four cells: difference, interval, significance, and detectable difference."""
    if comparison is None:
        return [NOTHING] * 4
    scale = unit_scale(comparison.metric)
    low, high = comparison.interval.low, comparison.interval.high
    ends = "no interval"
    if low is not None and high is not None:
        ends = f"{scale * low:+.1f} to {scale * high:+.1f}"
    detectable = comparison.detectable_difference
    return [
        f"{scale * comparison.interval.mean:+.1f}",
        ends,
        "yes" if comparison.significant else "no",
        NOTHING if detectable is None else f"{scale * detectable:.1f}",
    ]
