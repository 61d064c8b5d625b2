"""Report section on the effects of the axes: matched differences, interactions, importance."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.effects.axis_effects import (
    AnalyzedAxis,
    ValueEffect,
    ValueInteraction,
    axes_to_compare,
    axis_effects,
    searched_points,
    varied_axes,
)
from sweeps.analysis.effects.axis_effects import interactions as interactions_of
from sweeps.analysis.effects.axis_importance import axis_importance
from sweeps.analysis.trials.metric_choice import direction_of
from sweeps.analysis.trials.paired_differences import Comparison
from sweeps.presentation.numbers import ADJUSTMENT, count
from sweeps.report import plots
from sweeps.report.differences import comparison_plot, difference_texts, difference_unit
from sweeps.report.formatting import metric_name
from sweeps.report.page_model import Column, Figure, Section, table
from sweeps.report.report_inputs import ReportInputs

INTERACTIONS = 10
"""Maximum number of interactions shown, the largest first."""


def effects_section(inputs: ReportInputs) -> Section:
    """Return main effects, interactions and importance of every axis, for every objective."""
    searched = [config for config in inputs.replicates if config.role == "search"]
    points = searched_points(inputs.trials)
    axes = varied_axes(points)
    if not searched or not axes:
        reason = "no axis of the search takes more than one value"
        reason = reason if searched else "no run of the search has finished"
        return Section(
            id="effects",
            title="Effect of each axis",
            short="Effects",
            lead=f"No effects: {reason}.",
        )
    compared, _ = axes_to_compare(axes)
    figures: list[Figure] = []
    notes: list[str] = []
    significant = total = 0
    for metric in inputs.sweep.objectives:
        singles = axis_effects(
            searched, points, compared, metric, fixed_orders=inputs.fixed_orders
        )
        significant += sum(e.comparison is not None and e.comparison.significant for e in singles)
        total += sum(effect.comparison is not None for effect in singles)
        figures += _mains(metric, singles, notes)
        doubles = interactions_of(
            searched, points, compared, metric, fixed_orders=inputs.fixed_orders
        )
        figures += _interactions(metric, doubles)
        shares = axis_importance(searched, points, axes, metric, direction_of(metric))
        if isinstance(shares, str):
            notes.append(f"Importance for {metric_name(metric)} is not estimated: {shares}.")
        else:
            figures.append(_importance(metric, axes, shares, len(searched)))
    lead = (
        f"{significant} of {count(total, 'difference')} from a baseline value "
        f"{'is' if significant == 1 else 'are'} significant: the p value, adjusted for the number "
        "of comparisons in its table, is below 0.05."
    )
    return Section(
        id="effects",
        title="Effect of each axis",
        short="Effects",
        lead=lead,
        figures=tuple(figures),
        notes=tuple(dict.fromkeys(notes)),
    )


def _better(metric: str) -> str:
    return "higher is better" if direction_of(metric) == "max" else "lower is better"


def _mains(metric: str, singles: Sequence[ValueEffect], notes: list[str]) -> list[Figure]:
    known = [effect for effect in singles if effect.comparison is not None]
    missing = len(singles) - len(known)
    if missing:
        notes.append(
            f"{missing} of {len(singles)} values have no matched pair: no two configurations "
            "differ in them alone. A grid search has matched pairs for all values."
        )
    if not known:
        return []
    labels = [_change(effect) for effect in known]
    cells = [difference_texts(effect.comparison) for effect in known]
    return [
        Figure(
            id=f"effects-{metric}",
            title=f"Effect on {metric_name(metric)}",
            caption=(
                f"Each value minus the baseline of its axis, {difference_unit(metric)} of "
                f"validation {metric_name(metric)} ({_better(metric)}), with 95 % intervals; "
                f"{_runs([effect.comparison for effect in known])}. Paired: same order, same "
                "seed, all other axes equal."
            ),
            spec=comparison_plot(metric, labels, [effect.comparison for effect in known]),
            table=table(
                [
                    "axis",
                    "value",
                    "baseline",
                    "#pairs",
                    "#runs",
                    Column(title="difference", number=True, term="matched difference"),
                    "#95 %",
                    "#adj. p",
                    "significant",
                    "#detectable",
                ],
                [
                    [e.path, e.value, e.baseline, e.pairs, _n(e.comparison), *texts]
                    for e, texts in zip(known, cells, strict=True)
                ],
                note="detectable: difference that these replicates detect with a power of 80 %; "
                + ADJUSTMENT,
            ),
            terms=("matched difference", "95 % interval", metric_name(metric)),
        )
    ]


def _interactions(metric: str, doubles: Sequence[ValueInteraction]) -> list[Figure]:
    known = [effect for effect in doubles if effect.comparison is not None]
    known.sort(key=lambda e: -abs(e.comparison.interval.mean if e.comparison else 0.0))
    if not known:
        return []
    drawn = known[:INTERACTIONS]
    labels = [f"{_value(effect.first)} x {_value(effect.second)}" for effect in drawn]
    return [
        Figure(
            id=f"interactions-{metric}",
            title=f"Interactions in {metric_name(metric)}",
            caption=(
                f"Change of the effect of one value with the value of another axis, "
                f"{difference_unit(metric)} of validation {metric_name(metric)}, with 95 % "
                f"intervals; the {len(drawn)} largest of {len(known)}; "
                f"{_runs([effect.comparison for effect in drawn])}."
            ),
            spec=comparison_plot(metric, labels, [effect.comparison for effect in drawn]),
            table=table(
                [
                    "effect of",
                    "changes with",
                    "#groups of 4",
                    "#by",
                    "#95 %",
                    "#adj. p",
                    "significant",
                    "#detectable",
                ],
                [
                    [_value(o.first), _value(o.second), o.squares, *difference_texts(o.comparison)]
                    for o in drawn
                ],
            ),
            terms=("interaction", "95 % interval"),
        )
    ]


def _importance(
    metric: str, axes: Sequence[AnalyzedAxis], shares: dict[str, dict[str, float]], n: int
) -> Figure:
    ranked = sorted(axes, key=lambda axis: -shares["fanova"].get(axis.path, 0.0))
    labels = [axis.path for axis in ranked]
    names = {"fanova": "fANOVA", "ped_anova": "PED-ANOVA (the best tenth)"}
    data: list[plots.PlotPart] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": names[key],
            "y": list(range(len(labels))),
            "x": [round(100 * shares[key].get(path, 0.0), 1) for path in labels],
            "marker": {"color": color},
            "hovertemplate": "%{x:.0f} %<extra>%{fullData.name}</extra>",
        }
        for key, color in (("fanova", "@1"), ("ped_anova", "@5"))
    ]
    look = plots.dot_rows(
        labels, "importance / %", legend=True, whole=True, row_height=46, bargap=0.35
    )
    return Figure(
        id=f"importance-{metric}",
        title=f"Importance for {metric_name(metric)}",
        caption=(
            f"Shares over the search, n = {count(n, 'configuration')}, each with its mean over "
            "runs. The shares have no intervals: if they contradict the matched differences, "
            "trust the matched differences."
        ),
        spec=plots.plot_spec(data, look),
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


def _change(effect: ValueEffect) -> str:
    return f"{_value(effect)} (baseline {effect.baseline})"


def _value(effect: ValueEffect) -> str:
    return f"{effect.path.split('.')[-1]} {effect.value}"


def _runs(comparisons: Sequence[Comparison | None]) -> str:
    """Return the number of paired runs per row, from the smallest to the largest."""
    runs = [_n(comparison) for comparison in comparisons]
    least, most = min(runs), max(runs)
    return f"n = {count(most, 'paired run')}" if least == most else f"n = {least} to {most} runs"


def _n(comparison: Comparison | None) -> int:
    return 0 if comparison is None else comparison.interval.n
