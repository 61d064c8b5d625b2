"""Plots of the Pareto front: two objectives over each other, or one objective by configuration."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.front.pareto_row import FrontRow
from sweeps.analysis.trials.metric_choice import SPLITS
from sweeps.report import plots
from sweeps.report.formatting import axis_title, metric_name, scaled, shown, unit

BARS = 40
"""Number of configurations above which only the front and the baselines have error bars."""
NAMED = 6
"""Maximum number of points of the front with a name in the plot; the tooltip names all."""


def label_with_role(row: FrontRow) -> str:
    """Return the label of a row, with the role of a baseline or reference."""
    return row.label if row.role == "search" else f"{row.label} ({row.role})"


def objectives_plot(
    rows: Sequence[FrontRow], objectives: Sequence[str], choice: str | None
) -> plots.PlotPart:
    """Return a scatter plot of the first objective over the second; references are lines.

    The front is drawn last, so that no other point covers it, and a ring marks the choice.
    """
    y, x = objectives[:2]
    few = len(rows) <= BARS
    on_front = [r for r in rows if r.on_front]
    groups = [
        (
            "searched",
            "@muted",
            "circle",
            [r for r in rows if r.role == "search" and not r.on_front],
            few,
        ),
        ("baselines", "@2", "square", [r for r in rows if r.role == "baseline"], True),
        ("on the front", "@1", "circle", on_front, True),
    ]
    data: list[plots.PlotPart] = []
    best = sorted(
        ((mean, r) for r in on_front if (mean := r.mean(x)) is not None),
        key=lambda point: point[0],
    )
    if len(best) > 1 and len(objectives) == 2:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [scaled(x, mean) for mean, _ in best],
                "y": [scaled(y, r.mean(y)) for _, r in best],
                "line": {"color": "@1", "width": 1.5, "shape": "hv", "dash": "dot"},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    for name, color, symbol, kept, bars in groups:
        kept = [r for r in kept if r.mean(x) is not None and r.mean(y) is not None]
        if not kept:
            continue
        data.append(_points(name, kept, x, y, color, symbol, bars))
        data.append(_points(f"{name}, test", kept, x, y, color, symbol, False, "test"))
    data += _ring([row for row in rows if row.config_id == choice], x, y)
    shapes: list[plots.PlotPart] = []
    notes = _names([row for _, row in best], x, y)
    for row in rows:
        if row.role == "reference" and row.mean(y) is not None:
            level = scaled(y, row.mean(y))
            line: plots.PlotPart = {"color": "@ink", "width": 1, "dash": "dash"}
            shapes.append(
                {
                    "type": "line",
                    "xref": "paper",
                    "x0": 0,
                    "x1": 1,
                    "y0": level,
                    "y1": level,
                    "line": line,
                    "layer": "below",
                }
            )
            notes.append(
                {
                    "xref": "paper",
                    "x": 1,
                    "y": level,
                    "xanchor": "right",
                    "yanchor": "bottom",
                    "text": plots.escaped(row.label),
                    "showarrow": False,
                    "font": {"size": 12},
                }
            )
    look = plots.layout(
        axis_title(x),
        axis_title(y),
        height=460,
        shapes=shapes,
        annotations=notes,
        xaxis=_range(rows, x),
        yaxis=_range(rows, y),
    )
    return plots.plot_spec(data, look)


def _names(rows: Sequence[FrontRow], x: str, y: str) -> list[plots.PlotPart]:
    """Return a name beside each point of the front: the settings in which the points differ."""
    if len(rows) > NAMED:
        return []
    words = [row.label.split(" ") for row in rows]
    shared = set.intersection(*map(set, words)) if len(rows) > 1 else set()
    return [
        {
            "x": scaled(x, row.mean(x)),
            "y": scaled(y, row.mean(y)),
            "xanchor": "left",
            "yanchor": "top",
            "xshift": 8,
            "yshift": -4,
            "text": plots.escaped(" ".join(w for w in own if w not in shared) or row.label),
            "showarrow": False,
            "align": "left",
            "font": {"size": 12, "color": "@1"},
        }
        for row, own in zip(rows, words, strict=True)
    ]


def _ring(rows: Sequence[FrontRow], x: str, y: str) -> list[plots.PlotPart]:
    """Return a ring around the choice, through which other points remain visible."""
    kept = [row for row in rows if row.mean(x) is not None and row.mean(y) is not None]
    if not kept:
        return []
    trace = plots.marker_trace(
        "the choice",
        [scaled(x, row.mean(x)) for row in kept],
        [scaled(y, row.mean(y)) for row in kept],
        color="@ink",
        hollow=True,
    )
    line: plots.PlotPart = {"width": 2}
    marker: plots.PlotPart = {
        "symbol": "circle-open",
        "size": 20,
        "color": "@ink",
        "line": line,
    }
    return [trace | {"marker": marker, "hoverinfo": "skip"}]


def _range(rows: Sequence[FrontRow], metric: str) -> plots.PlotPart:
    """Return the range of an axis; empty for a count, whose intervals are narrow."""
    if unit(metric) != "%":
        return {}
    values = [scaled(metric, row.estimate(metric, split).mean) for row in rows for split in SPLITS]
    ends = [scaled(metric, end) for row in rows for end in row.estimate(metric)[1:]]
    limits = plots.axis_range(values, ends, 0.0, 100.0)
    return {} if limits is None else {"range": limits}


def _points(
    name: str,
    rows: Sequence[FrontRow],
    x: str,
    y: str,
    color: str,
    symbol: str,
    bars: bool,
    split: str = "validation",
) -> plots.PlotPart:
    on_test = split == "test"
    means_x, low_x, high_x = _columns(rows, x, split)
    means_y, low_y, high_y = _columns(rows, y, split)
    return plots.marker_trace(
        name,
        means_x,
        means_y,
        color=color,
        symbol=symbol,
        hollow=on_test,
        error_x=plots.error_bars(means_x, low_x, high_x, color) if bars else None,
        error_y=plots.error_bars(means_y, low_y, high_y, color) if bars else None,
        customdata=[row.config_id for row in rows],
        text=[
            f"{plots.escaped(label_with_role(row))}<br>"
            f"{metric_name(y)} {shown(y, *row.estimate(y, split))}<br>"
            f"{metric_name(x)} {shown(x, *row.estimate(x, split))}<br>n = {row.n_replicates}"
            for row in rows
        ],
        hovertemplate=f"%{{text}}<extra>{split}</extra>",
        visible="legendonly" if on_test else None,
    )


def _columns(rows: Sequence[FrontRow], metric: str, split: str) -> list[list[float | None]]:
    """Return the means, the lower and the upper ends of an objective in the unit of the page."""
    return [[scaled(metric, row.estimate(metric, split)[k]) for row in rows] for k in range(3)]


def ranking_plot(rows: Sequence[FrontRow], objectives: Sequence[str]) -> plots.PlotPart:
    """Return a plot of a single objective: one row per configuration, the best at the top."""
    (name,) = objectives
    kept = [row for row in rows if row.mean(name) is not None][:BARS]
    labels = [label_with_role(row) for row in kept]
    data = []
    for split, hollow in (("validation", False), ("test", True)):
        means, lows, highs = _columns(kept, name, split)
        data.append(
            plots.marker_trace(
                split,
                means,
                range(len(labels)),
                color="@2" if hollow else "@1",
                hollow=hollow,
                error_x=plots.error_bars(means, lows, highs, "@2" if hollow else "@1"),
                customdata=[row.config_id for row in kept],
            )
        )
    return plots.plot_spec(data, plots.dot_rows(labels, axis_title(name), legend=True))
