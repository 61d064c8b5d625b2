"""What each axis does: matched differences, interactions and importance, per objective."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.effects.axis_effects import (
    Axis,
    Effect,
    Interaction,
    axes_of,
    axis_effects,
    comparable,
    points_of,
)
from sweeps.analysis.effects.axis_effects import interactions as interactions_of
from sweeps.analysis.effects.axis_importance import axis_importance
from sweeps.analysis.runs.metric_choice import direction_of
from sweeps.analysis.runs.paired_differences import Comparison
from sweeps.report import plots
from sweeps.report.differences import forest, in_unit, interval_of, numbers
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import count, metric_name
from sweeps.report.model import Column, Figure, Section, table

INTERACTIONS = 10
"""Interactions shown, the largest first."""


def effects_section(evidence: Evidence) -> Section:
    """Main effects, interactions and importance of every axis, for every objective."""
    found = [one for one in evidence.found if one.role == "search"]
    points = points_of(evidence.trials)
    axes = axes_of(points)
    if not found or not axes:
        why = "no axis of the search takes more than one value"
        why = why if found else "no run of the search has finished"
        return Section(
            id="effects",
            title="What each axis does",
            short="Effects",
            lead=f"Nothing to see: {why}.",
        )
    asked, _ = comparable(axes)
    figures: list[Figure] = []
    notes: list[str] = []
    settled = total = 0
    for metric in evidence.sweep.objectives:
        singles = axis_effects(found, points, asked, metric, fixed_orders=evidence.fixed_orders)
        settled += sum(one.comparison is not None and one.comparison.settled for one in singles)
        total += sum(one.comparison is not None for one in singles)
        figures += _mains(metric, singles, notes)
        doubles = interactions_of(found, points, asked, metric, fixed_orders=evidence.fixed_orders)
        figures += _interactions(metric, doubles)
        shares = axis_importance(found, points, axes, metric, direction_of(metric))
        if isinstance(shares, str):
            notes.append(f"Importance for {metric_name(metric)} is not estimated: {shares}.")
        else:
            figures.append(_importance(metric, axes, shares, len(found)))
    lead = (
        f"{settled} of {count(total, 'difference')} from a baseline value "
        f"{'is' if settled == 1 else 'are'} settled: the 95 % interval leaves 0 out. Where "
        "nothing differs, one in twenty still does, by luck."
    )
    return Section(
        id="effects",
        title="What each axis does",
        short="Effects",
        lead=lead,
        figures=tuple(figures),
        notes=tuple(dict.fromkeys(notes)),
    )


def _better(metric: str) -> str:
    return "higher is better" if direction_of(metric) == "max" else "lower is better"


def _mains(metric: str, singles: Sequence[Effect], notes: list[str]) -> list[Figure]:
    known = [one for one in singles if one.comparison is not None]
    missing = len(singles) - len(known)
    if missing:
        notes.append(
            f"{missing} of {len(singles)} values have no matched pair: no two configurations "
            "differ in them alone. A grid has them all."
        )
    if not known:
        return []
    labels = [_change(one) for one in known]
    cells = [numbers(one.comparison) for one in known]
    return [
        Figure(
            id=f"effects-{metric}",
            title=f"Effect on {metric_name(metric)}",
            caption=(
                f"Each value less its axis's baseline, {in_unit(metric)} of validation "
                f"{metric_name(metric)} ({_better(metric)}), with 95 % intervals; "
                f"{_runs([one.comparison for one in known])}. Paired: same order, same seed, all "
                "other axes equal."
            ),
            spec=forest(metric, labels, [interval_of(one.comparison) for one in known]),
            table=table(
                [
                    "axis",
                    "value",
                    "against",
                    "#pairs",
                    "#runs",
                    Column(title="difference", number=True, term="matched difference"),
                    "#95 %",
                    "shown",
                    "#can show",
                ],
                [
                    [one.path, one.value, one.baseline, one.pairs, _n(one.comparison), *texts]
                    for one, texts in zip(known, cells, strict=True)
                ],
                note="can show: the difference that these replicates show in 80 % of cases",
            ),
            terms=("matched difference", "95 % interval", metric_name(metric)),
        )
    ]


def _interactions(metric: str, doubles: Sequence[Interaction]) -> list[Figure]:
    known = [one for one in doubles if one.comparison is not None]
    known.sort(key=lambda one: -abs(one.comparison.interval.mean if one.comparison else 0.0))
    if not known:
        return []
    drawn = known[:INTERACTIONS]
    labels = [f"{_value(one.first)} x {_value(one.second)}" for one in drawn]
    return [
        Figure(
            id=f"interactions-{metric}",
            title=f"Interactions in {metric_name(metric)}",
            caption=(
                f"How much the effect of one value changes with another, {in_unit(metric)} of "
                f"validation {metric_name(metric)}, with 95 % intervals; the {len(drawn)} largest "
                f"of {len(known)}; {_runs([one.comparison for one in drawn])}."
            ),
            spec=forest(metric, labels, [interval_of(one.comparison) for one in drawn]),
            table=table(
                ["effect of", "changes with", "#squares", "#by", "#95 %", "shown", "#can show"],
                [
                    [_value(o.first), _value(o.second), o.squares, *numbers(o.comparison)]
                    for o in drawn
                ],
            ),
            terms=("interaction", "95 % interval"),
        )
    ]


def _importance(
    metric: str, axes: Sequence[Axis], shares: dict[str, dict[str, float]], n: int
) -> Figure:
    ranked = sorted(axes, key=lambda axis: -shares["fanova"].get(axis.path, 0.0))
    labels = [axis.path for axis in ranked]
    names = {"fanova": "fANOVA", "ped_anova": "PED-ANOVA (the best tenth)"}
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": names[key],
            "y": list(range(len(labels))),
            "x": [round(100 * shares[key].get(path, 0.0), 1) for path in labels],
            "marker": {"color": colour},
            "hovertemplate": "%{x:.0f} %<extra>%{fullData.name}</extra>",
        }
        for key, colour in (("fanova", "@1"), ("ped_anova", "@5"))
    ]
    look = plots.dot_rows(labels, "importance / %", legend=True, whole=True, bargap=0.35)
    look["height"] += 18 * len(labels)
    return Figure(
        id=f"importance-{metric}",
        title=f"Importance for {metric_name(metric)}",
        caption=(
            f"Shares over the search, n = {count(n, 'configuration')}, each by its mean over "
            "runs. No intervals: trust the matched differences where they disagree."
        ),
        spec=plots.spec(data, look),
        table=table(
            [
                "axis",
                Column(title="fANOVA", number=True, term="fANOVA"),
                Column(title="PED-ANOVA", number=True, term="PED-ANOVA"),
            ],
            [
                [path, *(f"{shares[key].get(path, 0.0):.0%}" for key in ("fanova", "ped_anova"))]
                for path in labels
            ],
        ),
        terms=("fANOVA", "PED-ANOVA"),
    )


def _change(one: Effect) -> str:
    return f"{_value(one)} (not {one.baseline})"


def _value(one: Effect) -> str:
    return f"{one.path.split('.')[-1]} {one.value}"


def _runs(found: Sequence[Comparison | None]) -> str:
    """How many differences there are to a row: from the fewest to the most."""
    numbers_of = [_n(one) for one in found]
    least, most = min(numbers_of), max(numbers_of)
    return f"n = {count(most, 'paired run')}" if least == most else f"n = {least} to {most} runs"


def _n(found: Comparison | None) -> int:
    return 0 if found is None else found.interval.n
