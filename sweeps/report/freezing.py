"""Report section on the weight matrices: importance, freezing and drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.analysis.matrices.freezing_effect import (
    DriftDifference,
    drift_differences,
    freezing_pairs,
)
from sweeps.analysis.matrices.matrix_history import MatrixRuns, matrix_table
from sweeps.analysis.trials.paired_differences import significant_of_list
from sweeps.presentation.numbers import count, percent_interval, verdict
from sweeps.presentation.text_tables import NOTHING
from sweeps.report import plots
from sweeps.report.page_model import Column, Figure, Section, table
from sweeps.report.report_inputs import ReportInputs

PAIRS = 12
"""Maximum number of pairs with and without freezing whose drift is compared."""
SEARCHED = 48
"""Maximum number of freezing configurations, best first, for which a partner is searched.

Each search computes stage keys.
"""


def freezing_section(inputs: ReportInputs) -> Section:
    """Return maps of one configuration, and the effect of freezing on drift for all pairs."""
    title = "Frozen matrices"
    runs = inputs.maps
    if not runs:
        lead = "No finished run has matrix statistics: methods without low-rank updates have none."
        return Section(id="freezing", title=title, short="Matrices", lead=lead)
    freezing = [run for run in runs if run.frozen.any()]
    shown = (freezing or runs)[0]
    rows = matrix_table([shown], fixed_orders=inputs.fixed_orders).to_pylist()
    figures = [_map(shown, rows, *spec) for spec in _MAPS if _known(rows, spec[0])]
    free = [run for run in runs if not run.frozen.any()]
    pairs = freezing_pairs(inputs.trials, [*freezing[:SEARCHED], *free])[:PAIRS]
    differences = [
        difference
        for pair in pairs
        for difference in drift_differences(pair, fixed_orders=inputs.fixed_orders)
    ]
    lead = (
        f"The maps are of {shown.label}, by block. The list of configurations opens the maps of "
        "any other configuration. "
    )
    whole = [d for d in differences if d.group == "all" and d.difference is not None]
    if whole:
        less = [d for d in whole if d.difference and d.difference.mean < 0]
        lead += (
            f"In {len(less)} of {count(len(whole), 'pair')} with and without freezing, the "
            "matrices drift less with freezing."
        )
    if differences:
        figures.append(_drift(differences))
    notes = (
        ()
        if differences
        else (
            "The effect of freezing on drift is not known: no configuration with freezing also "
            "ran with `method.importance_threshold: 0` and otherwise equal settings.",
        )
    )
    return Section(
        id="freezing",
        title=title,
        short="Matrices",
        lead=lead,
        figures=tuple(figures),
        notes=notes,
    )


_MAPS = (
    ("importance", "Importance", "matrix importance", "importance / %", 100.0, ".0f"),
    ("frozen_from", "Freezing", "frozen from", "frozen from stage", 1.0, ".1f"),
    ("drift", "Drift", "drift", "drift / %", 100.0, ".1f"),
)
"""Maps: column of `matrix_table`, title, term, scale title, factor, format."""


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(row[name] is not None for row in rows)


def _map(
    matrices: MatrixRuns,
    rows: Sequence[Mapping[str, Any]],
    name: str,
    title: str,
    term: str,
    heading: str,
    factor: float,
    form: str,
) -> Figure:
    sites = list(dict.fromkeys(site.site for site in matrices.sites))
    blocks = sorted({site.block for site in matrices.sites})
    at = {(row["block"], row["site"]): row for row in rows}

    def value(block: int, site: str) -> float | None:
        raw = at.get((block, site), {}).get(name)
        return None if raw is None else round(factor * raw, 2)

    grid = [[value(block, site) for site in sites] for block in blocks]
    data: plots.PlotPart = {
        "type": "heatmap",
        "x": sites,
        "y": [str(block) for block in blocks],
        "z": grid,
        "texttemplate": f"%{{z:{form}}}" if len(blocks) * len(sites) <= 144 else "",
        "colorscale": "@sequential",
        "reversescale": name == "frozen_from",
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "showscale": False,
        "hovertemplate": f"block %{{y}}, %{{x}}: %{{z:{form}}}<extra></extra>",
    }
    look = plots.layout(
        "matrix",
        "block",
        height=90 + 34 * len(blocks),
        xaxis={"type": "category", "showgrid": False, "side": "top", "ticks": ""},
        yaxis={"type": "category", "showgrid": False, "autorange": "reversed", "ticks": ""},
    )
    return Figure(
        id=f"matrices-{name}",
        title=f"{title}: {heading}",
        caption=f"Means over n = {count(len(matrices.cells), 'run')}. "
        + ("Darker is earlier." if name == "frozen_from" else "Darker is larger."),
        spec=plots.plot_spec([data], look),
        table=table(
            [
                "block",
                "matrix",
                Column(title=heading, number=True, term=term),
                "#95 %",
                "#frozen at the end",
            ],
            [
                [
                    row["block"],
                    row["site"],
                    NOTHING if row[name] is None else f"{factor * row[name]:{form}}",
                    _ends(row, name, factor, form),
                    f"{row['frozen_share']:.0%}",
                ]
                for row in rows
            ],
        ),
        terms=(term,),
        columns=2,
    )


def _ends(row: Mapping[str, Any], name: str, factor: float, form: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None:
        return NOTHING
    return f"{factor * low:{form}} to {factor * high:{form}}"


def _drift(differences: Sequence[DriftDifference]) -> Figure:
    """Return the figure of drift with and without freezing, with a table by group of matrices."""
    rows = [(f"{d.pair.frozen.label}: {d.group}", d) for d in differences]
    drawn = [d for d in differences if d.group == "all"]
    data = []
    for name, color, hollow, which in (
        ("without freezing", "@2", True, "without"),
        ("with freezing", "@1", False, "with_freezing"),
    ):
        kept = [(row, getattr(d, which)) for row, d in enumerate(drawn) if getattr(d, which)]
        means, lows, highs = (
            [None if v is None else round(100 * v, 3) for v in column]
            for column in (
                [interval.mean for _, interval in kept],
                [interval.low for _, interval in kept],
                [interval.high for _, interval in kept],
            )
        )
        data.append(
            plots.marker_trace(
                name,
                means,
                [row for row, _ in kept],
                color=color,
                hollow=hollow,
                symbol="diamond" if hollow else "circle",
                error_x=plots.error_bars(means, lows, highs, color),
            )
        )
    labels = [d.pair.frozen.label for d in drawn]
    return Figure(
        id="freezing-drift",
        title="Effect of freezing on drift",
        caption="Drift of the effective weights, in percent of their norm, with 95 % intervals, "
        "mean over all adapted matrices. Paired: same order, same seed; "
        f"n = {_pairs(drawn)} pairs of runs.",
        spec=plots.plot_spec(data, plots.dot_rows(labels, "drift / %", legend=True)),
        table=table(
            [
                "configuration: matrices",
                "#number",
                "#with / %",
                "#without / %",
                "#difference",
                "significant",
            ],
            [
                [
                    label,
                    f"{d.matrices:.1f}",
                    percent_interval(d.with_freezing, 2),
                    percent_interval(d.without, 2),
                    percent_interval(d.difference, 2, "+"),
                    verdict(significant),
                ]
                for (label, d), significant in zip(
                    rows, significant_of_list([d.difference for _, d in rows]), strict=True
                )
            ],
        ),
        terms=("drift", "95 % interval"),
    )


def _pairs(drawn: Sequence[DriftDifference]) -> str:
    """Return the numbers of paired runs of the rows, separated by slashes."""
    return "/".join(map(str, sorted({len(d.pair.cells) for d in drawn})))
