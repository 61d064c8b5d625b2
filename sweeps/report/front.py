"""Report section on the Pareto front: one figure and table per readout, with baselines."""

from __future__ import annotations

from collections.abc import Sequence

from clmethods.config.readout import readout_notes
from sweeps.analysis.front.pareto_row import FrontRow
from sweeps.analysis.front.pareto_table import front_volume
from sweeps.analysis.trials.metric_choice import SPLITS, replicate_warning
from sweeps.presentation.numbers import count, probability_text
from sweeps.report import plots
from sweeps.report.attained import attained_figures
from sweeps.report.formatting import axis_title, metric_name, scaled, shown, unit
from sweeps.report.page_model import Column, Figure, Section, Table
from sweeps.report.report_inputs import ReportInputs

TABLE_ROWS = 60
"""Maximum number of rows of the table; the list of configurations shows all."""
BARS = 40
"""Number of configurations above which only the front and the baselines have error bars."""


def front_section(inputs: ReportInputs) -> Section:
    """Return the section on the front, with one figure per readout.

    Batch-wise and instance-wise results are never in the same plot.
    """
    figures = tuple(
        _figure(inputs, readout, index)
        for index, readout in enumerate(inputs.readouts)
        if inputs.fronts[readout]
    )
    rows = inputs.fronts[inputs.readout]
    best = [row for row in rows if row.on_front]
    searched = [row for row in rows if row.role == "search"]
    names = " and ".join(metric_name(name) for name in inputs.sweep.objectives)
    lead = (
        f"{len(best)} of {count(len(searched), 'searched configuration')} are on the Pareto front "
        f"of {names}: no other configuration dominates them. The front uses validation images; "
        "results on test images are reported alongside."
    )
    few = replicate_warning(inputs.trials)
    notes = [few] if few else []
    attained = tuple(attained_figures(inputs, notes))
    return Section(
        id="front",
        title="The front",
        short="Front",
        lead=lead,
        figures=figures + attained,
        notes=tuple(notes),
    )


def _figure(inputs: ReportInputs, readout: str, index: int) -> Figure:
    rows = inputs.fronts[readout]
    objectives = list(inputs.sweep.objectives)
    runs = sum(row.n_replicates for row in rows)
    caption = (
        f"Readout {readout}. Means over orders and seeds with 95 % intervals, "
        f"{count(len(rows), 'configuration')}, n = {count(runs, 'run')}. "
    )
    volume = front_volume(inputs.sweep, rows)
    if volume is not None:
        corner = ", ".join(f"{metric_name(n)} {v:.3g}" for n, v in volume.corner.items())
        caption += f"Hypervolume {volume.value:.4g} relative to the worst means ({corner}). "
    caption += " ".join(f"{note[0].upper()}{note[1:]}." for note in readout_notes(readout))
    draw = _plane if len(objectives) > 1 else _ranking
    return Figure(
        id=f"front-{index}",
        title=" and ".join(metric_name(name) for name in objectives[:2]),
        caption=caption.strip(),
        spec=draw(rows, objectives),
        table=front_table(rows, objectives),
        terms=("front", "95 % interval", "P(front)", "knee", *map(metric_name, objectives)),
        readout=readout,
    )


def front_table(rows: Sequence[FrontRow], objectives: Sequence[str]) -> Table:
    """Return the table of the first rows, with validation and test results."""
    columns = [
        Column(title="configuration", term="configuration"),
        Column(title="front", term="front"),
        Column(title="P(front)", number=True, term="P(front)"),
        Column(title="n", number=True, term="run"),
        *(
            Column(title=f"{split}: {axis_title(name)}", number=True, term=metric_name(name))
            for split in SPLITS
            for name in objectives
        ),
    ]
    printed = rows[:TABLE_ROWS]
    cells = [
        [
            label_with_role(row),
            ("knee" if row.knee else "yes") if row.on_front else "",
            probability_text(row.p_front),
            str(row.n_replicates),
            *(shown(name, *row.estimate(name, split)) for split in SPLITS for name in objectives),
        ]
        for row in printed
    ]
    notes = ["mean, in parentheses the 95 % interval over orders and seeds"]
    if len(rows) > len(printed):
        notes.append(f"the first {len(printed)} of {len(rows):,}; the list below has all")
    notes += [
        f"{row.label}: {row.validation.n_missing} of its runs have no metrics"
        for row in printed
        if row.validation.n_missing
    ]
    return Table(
        columns=tuple(columns),
        rows=cells,
        note="; ".join(notes),
        config_ids=[row.config_id for row in printed],
    )


def label_with_role(row: FrontRow) -> str:
    """Return the label of a row, with the role of a baseline or reference."""
    return row.label if row.role == "search" else f"{row.label} ({row.role})"


def _plane(rows: Sequence[FrontRow], objectives: Sequence[str]) -> plots.PlotPart:
    """Return a scatter plot of the first objective over the second; references are lines."""
    y, x = objectives[:2]
    few = len(rows) <= BARS
    groups = [
        ("on the front", "@1", "circle", [r for r in rows if r.on_front], True),
        (
            "searched",
            "@muted",
            "circle",
            [r for r in rows if r.role == "search" and not r.on_front],
            few,
        ),
        ("baselines", "@2", "diamond", [r for r in rows if r.role == "baseline"], True),
    ]
    data: list[plots.PlotPart] = []
    best = sorted(
        ((mean, r) for r in groups[0][3] if (mean := r.mean(x)) is not None),
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
    shapes: list[plots.PlotPart] = []
    notes: list[plots.PlotPart] = []
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


def _ranking(rows: Sequence[FrontRow], objectives: Sequence[str]) -> plots.PlotPart:
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
