"""Parts of Plotly specifications. Colors are roles; the script of the page maps them to colors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from clmethods.canonical import JsonValue

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "pentagon")
"""Marker symbols, which distinguish series without color."""
COLORS = tuple(f"@{k}" for k in range(1, 7))
"""Roles of the six series colors."""
ROW = 28
"""Height of one row of a dot plot, in pixels."""

PlotPart: TypeAlias = dict[str, JsonValue]
"""Part of a Plotly specification: a trace, a layout, or an object in one of them."""


def layout(x: str, y: str = "", *, height: int = 380, **more: JsonValue) -> PlotPart:
    """Return a layout with axis titles; the script of the page adds fonts and colors."""
    base: PlotPart = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": "closest",
        "xaxis": {"title": {"text": x}, "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": y}, "automargin": True, "zeroline": False},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
    for name, value in more.items():
        default = base.get(name)
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            value = {**default, **value}
        base[name] = value
    return base


def dot_rows(
    labels: Sequence[str],
    x: str,
    *,
    legend: bool = False,
    whole: bool = False,
    row_height: int = ROW,
    **more: JsonValue,
) -> PlotPart:
    """Return a layout with one row per label, at y = 0, 1, …, the first at the top.

    `whole`: keep words that all labels have in common. `row_height`: in pixels.
    """
    shown = plot_labels(labels, whole=whole)
    lines = max((text.count("<br>") + 1 for text in shown), default=1)
    height = 84 + (row_height + 12 * (lines - 1)) * max(len(labels), 1) + (30 if legend else 0)
    return layout(
        x,
        "",
        height=height,
        yaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": shown,
            "range": [len(labels) - 0.4, -0.6],
            "showgrid": False,
            "ticks": "",
        },
        showlegend=legend,
        **more,
    )


def plot_labels(labels: Sequence[str], wrap: int = 40, *, whole: bool = False) -> list[str]:
    """Return labels for Plotly: wrapped, and without the words that all labels have in common.

    Plotly interprets some HTML in texts, so `<`, `>` and `&` are escaped.
    """
    words = [label.split(" ") for label in labels]
    common = set.intersection(*map(set, words)) if len(words) > 1 and not whole else set()
    kept = [[word for word in row if word not in common] or row for row in words]
    return ["<br>".join(map(escaped, _lines(row, wrap))) for row in kept]


def escaped(text: str) -> str:
    """Return a text with the HTML escapes that Plotly needs."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _lines(words: Sequence[str], wrap: int) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > wrap:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines if len(lines) <= 3 else [*lines[:2], f"{lines[2]} …"]


def error_bars(
    center: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    color: str,
) -> PlotPart | None:
    """Return error bars from the ends of intervals; None if no point has both ends."""
    known = [None not in (c, a, b) for c, a, b in zip(center, low, high, strict=True)]
    if not any(known):
        return None

    def gap(ends: Sequence[float | None], sign: float) -> list[float]:
        return [
            round(sign * (e - c), 3) if k and e is not None and c is not None else 0.0
            for k, e, c in zip(known, ends, center, strict=True)
        ]

    return {
        "type": "data",
        "symmetric": False,
        "array": gap(high, 1.0),
        "arrayminus": gap(low, -1.0),
        "color": color,
        "thickness": 1.2,
        "width": 0,
    }


def marker_trace(
    name: str,
    x: Sequence[JsonValue],
    y: Sequence[JsonValue],
    *,
    color: str,
    symbol: str = "circle",
    hollow: bool = False,
    size: int = 9,
    **more: JsonValue,
) -> PlotPart:
    """Return a trace with the markers of one series."""
    marker: PlotPart = {
        "symbol": f"{symbol}-open" if hollow else symbol,
        "size": size,
        "color": color,
        "line": {"width": 1.6 if hollow else 0.8, "color": color if hollow else "@paper"},
    }
    trace: PlotPart = {"type": "scatter", "mode": "markers", "name": name}
    trace |= {"x": list(x), "y": list(y), "marker": marker}
    return trace | {key: value for key, value in more.items() if value is not None}


def zero_line(vertical: bool = True) -> PlotPart:
    """Return a line at a difference of 0."""
    along, across = ("x", "y") if vertical else ("y", "x")
    return {
        "type": "line",
        f"{along}0": 0,
        f"{along}1": 0,
        f"{across}0": 0,
        f"{across}1": 1,
        f"{across}ref": "paper",
        "line": {"color": "@muted", "width": 1},
        "layer": "below",
    }


def plot_spec(data: Sequence[PlotPart], look: PlotPart) -> PlotPart:
    """Return a Plotly specification of traces and layout."""
    return {"data": list(data), "layout": dict(look)}


def axis_range(
    values: Sequence[float | None], ends: Sequence[float | None], low: float, high: float
) -> list[float] | None:
    """Return an axis range that contains all values, and interval ends clipped to [low, high].

    With few replicates an interval may exceed the range of the metric; it is then cut off. Returns
    None if there is no value.
    """
    known = [v for v in values if v is not None]
    if not known:
        return None
    reach = known + [min(max(e, low), high) for e in ends if e is not None]
    pad = 0.06 * (max(reach) - min(reach)) or 1.0
    return [min(reach) - pad, max(reach) + pad]
