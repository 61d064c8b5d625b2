"""Pieces of Plotly specifications. Colours are roles: the page looks them up in its palette."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "pentagon")
"""Shapes tell series apart where colours cannot."""
COLOURS = tuple(f"@{k}" for k in range(1, 7))
"""Roles of the six series colours."""
ROW = 28
"""Height of one row of a dot plot, in pixels."""

Trace = dict[str, Any]


def layout(x: str, y: str = "", *, height: int = 380, **more: Any) -> dict[str, Any]:
    """A layout with axis titles; the page adds fonts and colours."""
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": "closest",
        "xaxis": {"title": {"text": x}, "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": y}, "automargin": True, "zeroline": False},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
    for name, value in more.items():
        held = base.get(name)
        base[name] = held | value if isinstance(held, dict) else value
    return base


def dot_rows(
    labels: Sequence[str], x: str, *, legend: bool = False, whole: bool = False, **more: Any
) -> dict[str, Any]:
    """A layout for one row per label, at y = 0, 1, …, the first on top.

    `whole` labels keep the words that all of them have.
    """
    shown = texts(labels, whole=whole)
    lines = max((text.count("<br>") + 1 for text in shown), default=1)
    height = 84 + (ROW + 12 * (lines - 1)) * max(len(labels), 1) + (30 if legend else 0)
    return layout(
        x,
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


def texts(labels: Sequence[str], wrap: int = 40, *, whole: bool = False) -> list[str]:
    """Labels as Plotly shows them, long ones in lines; words that all have are left out.

    Plotly reads a little HTML in texts, so that `<` and `&` are escaped.
    """
    words = [label.split(" ") for label in labels]
    common = set.intersection(*map(set, words)) if len(words) > 1 and not whole else set()
    kept = [[word for word in row if word not in common] or row for row in words]
    return ["<br>".join(map(escaped, _lines(row, wrap))) for row in kept]


def escaped(text: str) -> str:
    """A user's text for Plotly."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _lines(words: Sequence[str], wrap: int) -> list[str]:
    found = [""]
    for word in words:
        if found[-1] and len(found[-1]) + 1 + len(word) > wrap:
            found.append(word)
        else:
            found[-1] = f"{found[-1]} {word}".strip()
    return found if len(found) <= 3 else [*found[:2], f"{found[2]} …"]


def errors(
    centre: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    colour: str,
) -> dict[str, Any] | None:
    """Error bars from ends; None where no point has both."""
    known = [None not in (c, a, b) for c, a, b in zip(centre, low, high, strict=True)]
    if not any(known):
        return None

    def gap(ends: Sequence[float | None], sign: float) -> list[float]:
        return [
            round(sign * (e - c), 3) if k and e is not None and c is not None else 0.0
            for k, e, c in zip(known, ends, centre, strict=True)
        ]

    return {
        "type": "data",
        "symmetric": False,
        "array": gap(high, 1.0),
        "arrayminus": gap(low, -1.0),
        "color": colour,
        "thickness": 1.2,
        "width": 0,
    }


def marks(
    name: str,
    x: Sequence[Any],
    y: Sequence[Any],
    *,
    colour: str,
    symbol: str = "circle",
    hollow: bool = False,
    size: int = 9,
    **more: Any,
) -> Trace:
    """Points of one series."""
    marker: dict[str, Any] = {
        "symbol": f"{symbol}-open" if hollow else symbol,
        "size": size,
        "color": colour,
        "line": {"width": 1.6 if hollow else 0.8, "color": colour if hollow else "@paper"},
    }
    trace: Trace = {"type": "scatter", "mode": "markers", "name": name}
    trace |= {"x": list(x), "y": list(y), "marker": marker}
    return trace | {key: value for key, value in more.items() if value is not None}


def zero_line(vertical: bool = True) -> dict[str, Any]:
    """A line at no difference."""
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


def spec(data: Sequence[Mapping[str, Any]], look: Mapping[str, Any]) -> dict[str, Any]:
    """What Plotly draws."""
    return {"data": list(data), "layout": dict(look)}


def span(
    values: Sequence[float | None], ends: Sequence[float | None], low: float, high: float
) -> list[float] | None:
    """A range for an axis: all values, and the ends of intervals as far as from `low` to `high`.

    Few replicates make intervals that no metric can fill; they run out of the plot.
    """
    known = [v for v in values if v is not None]
    if not known:
        return None
    reach = known + [min(max(e, low), high) for e in ends if e is not None]
    pad = 0.06 * (max(reach) - min(reach)) or 1.0
    return [min(reach) - pad, max(reach) + pad]
