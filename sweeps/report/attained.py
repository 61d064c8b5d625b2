"""Report figures with empirical attainment curves of single runs, for two objectives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clmethods.metrics import Direction
from sweeps.analysis.front.attainment import attainment, cell_fronts
from sweeps.analysis.front.dominance import front
from sweeps.analysis.trials.paired_differences import configurations
from sweeps.presentation.numbers import count
from sweeps.report import plots
from sweeps.report.formatting import axis_title, metric_name, scaled, shown, unit
from sweeps.report.page_model import Column, Figure, table
from sweeps.report.report_inputs import ReportInputs

Values = npt.NDArray[np.float64]

LOOKS = (("@3", "dot", "triangle-up"), ("@1", "solid", "circle"), ("@2", "dash", "square"))
"""Color, dash and symbol of the best, the median and the worst curve."""

DIGITS = 9
"""Number of decimals to which metrics are rounded, to remove floating-point noise."""


class Curve(NamedTuple):
    """Boundary of the values that at least a given number of runs attain."""

    name: str
    corners: Values  # (K, 2), from the best to the worst in the first objective


def attained_figures(inputs: ReportInputs, notes: list[str]) -> Iterator[Figure]:
    """Yield one figure per readout; append the reason to `notes` if there is none."""
    objectives = inputs.sweep.objectives
    if len(objectives) != 2:
        notes.append(
            "Attainment curves need two objectives, and this sweep has "
            f"{len(objectives)}: {', '.join(map(metric_name, objectives))}."
        )
        return
    for index, readout in enumerate(inputs.readouts):
        every = configurations(inputs.by_split["validation"], readout, "validation")
        searched = [config for config in every if config.role == "search" and config.eligible]
        cells = len(cell_fronts(searched, objectives))
        if cells < 2:
            if index == 0:
                notes.append(
                    "Attainment curves compare the fronts of single (order, seed) combinations. "
                    "Fewer than two combinations have a run with both objectives."
                )
            continue
        attained = [attainment(searched, objectives, k / cells) for k in _levels(cells)]
        curves = _curves(cells, [_distinct(corners, objectives) for corners in attained])
        yield _figure(objectives, readout, index, len(searched), cells, curves)


def _distinct(corners: Values, objectives: Mapping[str, Direction]) -> Values:
    """Return the corners without those that differ from another only by rounding errors."""
    whole = np.unique(np.round(corners, DIGITS), axis=0)
    kept = whole[front(whole, list(objectives.values()))]
    return kept if objectives[next(iter(objectives))] == "min" else kept[::-1]


def _levels(cells: int) -> tuple[int, ...]:
    """Return the numbers of cells of the curves: one, half and all; without duplicates."""
    return tuple(sorted({1, -(-cells // 2), cells}))


def _curves(cells: int, corners: Sequence[Values]) -> list[Curve]:
    names = {1: f"best (1 of {cells})", cells: f"worst (all {cells})"}
    half = -(-cells // 2)
    names[half] = f"median ({half} of {cells})" if half > 1 else f"best and median (1 of {cells})"
    return [
        Curve(names[level], values) for level, values in zip(_levels(cells), corners, strict=True)
    ]


def _figure(
    objectives: Mapping[str, Direction],
    readout: str,
    index: int,
    configured: int,
    cells: int,
    curves: Sequence[Curve],
) -> Figure:
    y, x = objectives
    return Figure(
        id=f"attained-{index}",
        title="Attainment of single runs",
        caption=(
            f"Readout {readout}. Empirical attainment of validation {metric_name(y)} and "
            f"{metric_name(x)}: the runs of {count(configured, 'searched configuration')} with "
            f"the same order and seed form one front, n = {cells} fronts. A curve bounds the "
            "values that the given number of fronts attain. The band between the outer curves is "
            "the variation between orders and seeds, which the means above do not show."
        ),
        spec=_spec(objectives, curves),
        table=table(
            [
                Column(title="fronts", term="attainment curve"),
                *(
                    Column(title=axis_title(name), number=True, term=metric_name(name))
                    for name in objectives
                ),
            ],
            [
                [
                    curve.name,
                    *(
                        shown(name, value, None, None)
                        for name, value in zip(objectives, corner, strict=True)
                    ),
                ]
                for curve in curves
                for corner in curve.corners.tolist()
            ],
            note="that many fronts have a configuration at least as good as each corner",
        ),
        terms=("attainment curve", "front", metric_name(y), metric_name(x)),
        readout=readout,
    )


def _spec(objectives: Mapping[str, Direction], curves: Sequence[Curve]) -> plots.PlotPart:
    """Return the plot: the second objective horizontal, the first vertical, as for the front."""
    y, x = objectives
    ranges = {
        name: _range(name, np.concatenate([curve.corners[:, m] for curve in curves]))
        for m, name in enumerate(objectives)
    }
    edges = {
        name: ranges[name][0] if direction == "max" else ranges[name][1]
        for name, direction in objectives.items()
    }
    corners = [_on_page(objectives, curve.corners) for curve in curves]
    data = [_band(corners[0], corners[-1], edges[x], edges[y])]
    looks = LOOKS if len(curves) == len(LOOKS) else LOOKS[1:]
    for curve, points, (color, dash, symbol) in zip(curves, corners, looks, strict=True):
        line: plots.PlotPart = {"color": color, "width": 2, "dash": dash}
        data.append(
            plots.marker_trace(
                curve.name,
                [at for at, _ in points],
                [height for _, height in points],
                color=color,
                symbol=symbol,
                size=8,
                mode="lines+markers",
                line=line | {"shape": "hv"},
                legendgroup=curve.name,
                hovertemplate=f"{metric_name(y)} %{{y}}<br>{metric_name(x)} %{{x}}"
                "<extra>%{fullData.name}</extra>",
            )
        )
        if points:  # extend the curve to the edges of the plot
            (first, best), (last, worst) = points[0], points[-1]
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [first, first, None, last, edges[x]],
                    "y": [edges[y], best, None, worst, worst],
                    "line": line,
                    "legendgroup": curve.name,
                    "showlegend": False,
                    "hoverinfo": "skip",
                }
            )
    look = plots.layout(
        axis_title(x),
        axis_title(y),
        height=400,
        xaxis={"range": ranges[x]},
        yaxis={"range": ranges[y]},
    )
    return plots.plot_spec(data, look)


def _range(metric: str, values: Values) -> list[float]:
    """Return the range of an axis in the unit of the page."""
    on_page = [scaled(metric, value) for value in values.tolist()]
    limits = plots.axis_range(on_page, (), 0.0, 100.0)
    if limits is None:  # no curve has a corner
        return [0.0, 100.0]
    return limits if unit(metric) == "%" else [max(limits[0], 0.0), limits[1]]


def _on_page(objectives: Mapping[str, Direction], corners: Values) -> list[tuple[float, float]]:
    """Return (x, y) of each corner in the units of the page, in reverse order."""
    y, x = objectives
    return [(scaled(x, b) or 0.0, scaled(y, a) or 0.0) for a, b in corners.tolist()][::-1]


def _band(
    best: Sequence[tuple[float, float]],
    worst: Sequence[tuple[float, float]],
    edge_x: float,
    edge_y: float,
) -> plots.PlotPart:
    """Return a filled area between the outer curves."""
    ring = [*_steps(best, edge_x, edge_y), *_steps(worst, edge_x, edge_y)[::-1]]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [at for at, _ in ring],
        "y": [height for _, height in ring],
        "fill": "toself",
        "fillcolor": "@rule",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _steps(
    corners: Sequence[tuple[float, float]], edge_x: float, edge_y: float
) -> list[tuple[float, float]]:
    """Return the vertices of the boundary of the dominated region, from edge to edge."""
    if not corners:
        return [(edge_x, edge_y)]
    vertices = [(corners[0][0], edge_y)]
    for (x, y), (next_x, _) in zip(corners, [*corners[1:], (edge_x, 0.0)], strict=True):
        vertices += [(x, y), (next_x, y)]
    return vertices
