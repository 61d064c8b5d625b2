"""Paired differences with their intervals, as plots and as cells of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweeps.analysis.runs.paired_differences import Comparison
from sweeps.report import plots
from sweeps.report.formatting import axis_title, unit
from sweeps.report.model import NOTHING
from sweeps.statistics.intervals import Interval


def scale_of(metric: str) -> float:
    """From the metric's own unit to that of the page."""
    return 100.0 if unit(metric) == "%" else 1.0


def in_unit(metric: str) -> str:
    """The unit of a difference, in words."""
    return "in percentage points" if unit(metric) == "%" else "in units"


def forest(metric: str, labels: Sequence[str], found: Sequence[Interval | None]) -> dict[str, Any]:
    """Differences with their intervals, one row each; those that are shown are filled."""
    scale = scale_of(metric)
    data = []
    for shown, hollow in ((True, False), (False, True)):
        rows = [
            (row, interval)
            for row, interval in enumerate(found)
            if interval is not None and bool(interval.settled) is shown
        ]
        if not rows:
            continue
        means = [round(scale * interval.mean, 3) for _, interval in rows]
        ends = [
            [None if e is None else scale * e for e in column]
            for column in zip(*((i.low, i.high) for _, i in rows), strict=True)
        ]
        data.append(
            plots.marks(
                "interval leaves 0 out" if shown else "0 is inside, or no interval",
                means,
                [row for row, _ in rows],
                colour="@1" if shown else "@muted",
                hollow=hollow,
                error_x=plots.errors(means, ends[0], ends[1], "@1" if shown else "@muted"),
            )
        )
    title = "difference / points" if unit(metric) == "%" else f"difference, {axis_title(metric)}"
    look = plots.dot_rows(labels, title, legend=True, whole=True, shapes=[plots.zero_line()])
    return plots.spec(data, look)


def interval_of(found: Comparison | None) -> Interval | None:
    """That of the difference."""
    return None if found is None else found.interval


def numbers(found: Comparison | None) -> list[str]:
    """Cells: the difference, its interval, whether it is shown, what could be shown."""
    if found is None:
        return [NOTHING] * 4
    scale = scale_of(found.metric)
    low, high = found.interval.low, found.interval.high
    ends = "no interval"
    if low is not None and high is not None:
        ends = f"{scale * low:+.1f} to {scale * high:+.1f}"
    can = found.detectable
    return [
        f"{scale * found.interval.mean:+.1f}",
        ends,
        "yes" if found.settled else "no",
        NOTHING if can is None else f"{scale * can:.1f}",
    ]
