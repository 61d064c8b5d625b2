"""The critical-parameter picture: which matrices matter, when they freeze, how far they move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.analysis.matrices.freezing_effect import drift_differences, freezing_pairs
from sweeps.analysis.matrices.matrix_history import MatrixRuns, matrix_table
from sweeps.report import plots
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import count
from sweeps.report.model import NOTHING, Column, Figure, Section, table
from sweeps.statistics.intervals import Interval

PAIRS = 12
"""Configurations with and without freezing whose drift is compared."""
ASKED = 48
"""Freezing configurations, the best first, whose partner is looked for: each costs its keys."""


def freezing_section(evidence: Evidence) -> Section:
    """Maps of one configuration, and what freezing does to the drift of all that freeze."""
    title = "Which matrices freeze"
    runs = evidence.maps
    if not runs:
        lead = "No finished run reports its matrices: methods without low-rank updates have none."
        return Section(id="freezing", title=title, short="Matrices", lead=lead)
    freezing = [one for one in runs if one.frozen.any()]
    shown = (freezing or runs)[0]
    rows = matrix_table([shown], fixed_orders=evidence.fixed_orders).to_pylist()
    figures = [_map(shown, rows, *what) for what in _WHAT if _known(rows, what[0])]
    free = [one for one in runs if not one.frozen.any()]
    pairs = freezing_pairs(evidence.trials, [*freezing[:ASKED], *free])[:PAIRS]
    found = [
        one
        for pair in pairs
        for one in drift_differences(pair, fixed_orders=evidence.fixed_orders)
    ]
    lead = f"Maps of {shown.label}, block by block; the list above opens those of any other. "
    whole = [one for one in found if one.group == "all" and one.difference is not None]
    if whole:
        less = [one for one in whole if one.difference and one.difference.mean < 0]
        lead += (
            f"In {len(less)} of {count(len(whole), 'pair')} with and without freezing, the "
            "matrices drift less with it."
        )
    if found:
        figures.append(_drift(found))
    notes = (
        ()
        if found
        else (
            "What freezing does to the drift: no configuration that freezes ran beside the "
            "same one with method.importance_threshold: 0.",
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


_WHAT = (
    ("importance", "Important", "matrix importance", "importance / %", 100.0, ".0f"),
    ("frozen_from", "Frozen", "frozen from", "frozen from task", 1.0, ".1f"),
    ("drift", "Still moving", "drift", "drift / %", 100.0, ".1f"),
)
"""Column of `matrix_table`, title, term, scale title, factor, format."""


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(row[name] is not None for row in rows)


def _map(
    one: MatrixRuns,
    rows: Sequence[Mapping[str, Any]],
    name: str,
    title: str,
    term: str,
    heading: str,
    factor: float,
    form: str,
) -> Figure:
    sites = list(dict.fromkeys(site.site for site in one.sites))
    blocks = sorted({site.block for site in one.sites})
    at = {(row["block"], row["site"]): row for row in rows}

    def value(block: int, site: str) -> float | None:
        found = at.get((block, site), {}).get(name)
        return None if found is None else round(factor * found, 2)

    grid = [[value(block, site) for site in sites] for block in blocks]
    data = {
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
        caption=f"Means over n = {count(len(one.cells), 'run')}. Darker is more"
        + (" and earlier." if name == "frozen_from" else "."),
        spec=plots.spec([data], look),
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


def _drift(found: Sequence[Any]) -> Figure:
    """Drift with and without freezing, of the matrices that it freezes and of the others."""
    rows = [(f"{one.pair.frozen.label}: {one.group}", one) for one in found]
    drawn = [one for one in found if one.group == "all"]
    data = []
    for name, colour, hollow, which in (
        ("without freezing", "@2", True, "without"),
        ("with freezing", "@1", False, "with_freezing"),
    ):
        kept = [(row, getattr(one, which)) for row, one in enumerate(drawn) if getattr(one, which)]
        means, lows, highs = (
            [None if v is None else round(100 * v, 3) for v in column]
            for column in (
                [interval.mean for _, interval in kept],
                [interval.low for _, interval in kept],
                [interval.high for _, interval in kept],
            )
        )
        data.append(
            plots.marks(
                name,
                means,
                [row for row, _ in kept],
                colour=colour,
                hollow=hollow,
                symbol="diamond" if hollow else "circle",
                error_x=plots.errors(means, lows, highs, colour),
            )
        )
    labels = [one.pair.frozen.label for one in drawn]
    return Figure(
        id="freezing-drift",
        title="What does freezing do to the drift?",
        caption="Drift of the effective weights, in percent of their norm, with 95 % intervals, "
        "means over all adapted matrices. Paired: same order, same seed; "
        f"n = {_pairs(drawn)} pairs of runs.",
        spec=plots.spec(data, plots.dot_rows(labels, "drift / %", legend=True)),
        table=table(
            [
                "configuration: matrices",
                "#number",
                "#with / %",
                "#without / %",
                "#difference",
                "shown",
            ],
            [
                [
                    label,
                    f"{one.matrices:.1f}",
                    _interval(one.with_freezing),
                    _interval(one.without),
                    _interval(one.difference, "+"),
                    _settled(one.difference),
                ]
                for label, one in rows
            ],
        ),
        terms=("drift", "95 % interval"),
    )


def _pairs(drawn: Sequence[Any]) -> str:
    """Numbers of paired runs behind the rows."""
    return "/".join(map(str, sorted({len(one.pair.cells) for one in drawn})))


def _interval(found: Interval | None, sign: str = "") -> str:
    if found is None:
        return NOTHING
    text = f"{100 * found.mean:{sign}.2f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ± {50 * (found.high - found.low):.2f}"


def _settled(found: Interval | None) -> str:
    if found is None or found.settled is None:
        return NOTHING
    return "yes" if found.settled else "no"
