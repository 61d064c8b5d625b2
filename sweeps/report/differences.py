"""Plots and table cells of paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.trials.paired_differences import Comparison
from sweeps.presentation.difference_columns import difference_cells
from sweeps.report import plots
from sweeps.report.formatting import axis_title, unit
from sweeps.statistics.intervals import Interval


def unit_scale(metric: str) -> float:
    """Return the factor from the unit of a metric to the unit of the page."""
    return 100.0 if unit(metric) == "%" else 1.0


def difference_unit(metric: str) -> str:
    """Return the unit of a difference in words."""
    return "in percentage points" if unit(metric) == "%" else "in units"


def comparison_plot(
    metric: str, labels: Sequence[str], comparisons: Sequence[Comparison | None]
) -> plots.PlotPart:
    """Return the forest plot of comparisons."""
    intervals = [None if c is None else c.interval for c in comparisons]
    return forest_plot(
        metric, labels, intervals, [None if c is None else c.significant for c in comparisons]
    )


def forest_plot(
    metric: str,
    labels: Sequence[str],
    intervals: Sequence[Interval | None],
    significant: Sequence[bool | None],
) -> plots.PlotPart:
    """Return a forest plot: one row per difference, filled if it is significant."""
    scale = unit_scale(metric)
    data = []
    for shown, hollow in ((True, False), (False, True)):
        rows = [
            (row, interval)
            for row, (interval, known) in enumerate(zip(intervals, significant, strict=True))
            if interval is not None and bool(known) is shown
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
                "significant" if shown else "not significant, or no interval",
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


def difference_texts(comparison: Comparison | None) -> list[str]:
    """Return five cells: difference, interval, p value, significance, detectable difference."""
    return [cell.text for cell in difference_cells(comparison).values()]
