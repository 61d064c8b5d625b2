"""Report section on early stopping and racing: stages and runs saved, and the audited cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sweeps.analysis.effects.stopping_audit import (
    AuditedConfiguration,
    RungVerdicts,
    StageSaving,
    StoppingCost,
    rung_verdicts,
    saved_stages,
    stopping_cost,
)
from sweeps.analysis.trials.paired_differences import configurations, significant_of_list
from sweeps.presentation.numbers import count, percent_range, verdict
from sweeps.presentation.text_tables import NOTHING
from sweeps.report import plots
from sweeps.report.differences import difference_unit, forest_plot, unit_scale
from sweeps.report.formatting import metric_name, unit
from sweeps.report.page_model import Column, Figure, Section, Table, table
from sweeps.report.racing_section import racing_summary
from sweeps.report.report_inputs import ReportInputs
from sweeps.search.search_state import Decision

LISTED = 60
SHOWN = 24
"""Maximum number of audited configurations in the plot."""
VERDICTS = {"goes on": "continued", "stops": "stopped", "audit": "stopped, audited"}
"""Labels of the verdicts of rungs."""


def declares_rules(inputs: ReportInputs) -> bool:
    """Return True if the sweep uses early stopping or racing."""
    return inputs.sweep.early_stop is not None or inputs.sweep.racing is not None


def stopping_section(inputs: ReportInputs) -> Section:
    """Return the section: decisions of the rungs, saved stages, regret, decisions of racing."""
    rungs = [decision for decision in inputs.decisions if decision.by == "early_stop"]
    race = [decision for decision in inputs.decisions if decision.by == "racing"]
    verdicts = rung_verdicts((decision.config_id, decision.verdict) for decision in rungs)
    parts: list[str] = []
    figures: list[Figure] = []
    tables: list[tuple[str, Table]] = []
    notes: list[str] = []
    if inputs.sweep.early_stop is not None:
        parts.append(_stopped(inputs, rungs, verdicts, figures, notes))
    if inputs.sweep.racing is not None:
        parts.append(racing_summary(inputs, race, tables))
    if verdicts.stopped:
        tables.insert(0, ("Decisions of the rungs", _decided(rungs)))
    return Section(
        id="stopping",
        title="Early stopping",
        short="Stopping",
        lead=" ".join(parts),
        figures=tuple(figures),
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _stopped(
    inputs: ReportInputs,
    rungs: Sequence[Decision],
    verdicts: RungVerdicts,
    figures: list[Figure],
    notes: list[str],
) -> str:
    """Return the result of the rungs in words; append figures, and notes on what is unknown."""
    if not rungs:
        return "No rung has been decided yet, so no configuration was stopped."
    figures.append(_by_rung(inputs, rungs))
    if not verdicts.stopped:
        return "No configuration was stopped: all configurations at the rungs continued."
    compared = len({decision.config_id for decision in rungs})
    text = (
        f"{len(verdicts.stopped)} of {count(compared, 'configuration')} were stopped early, "
        f"{_audit(verdicts)}. This saved {_saved(saved_stages(inputs.trials))}."
    )
    if not verdicts.audited:
        notes.append(
            "The cost of early stopping is not known: no stopped configuration was audited."
        )
        return text
    cost = stopping_cost(
        configurations(inputs.by_split["validation"], inputs.readout, "validation"),
        inputs.sweep.objectives,
        **verdicts._asdict(),
        fixed_orders=inputs.fixed_orders,
    )
    if cost is None:
        notes.append("The cost of early stopping is not known yet: the audit has not finished.")
        return text
    figures.append(_regret(cost))
    return f"{text} {_cost(cost)}"


def _audit(verdicts: RungVerdicts) -> str:
    n = len(verdicts.audited)
    if n == 0:
        return "none of them audited"
    share = n / len(verdicts.stopped)
    return f"{n} of them ({share:.0%}) {'continues' if n == 1 else 'continue'} for the audit"


def _saved(stages: StageSaving) -> str:
    share = stages.spared / stages.whole if stages.whole else 0.0
    return f"{stages.spared:,} of {count(stages.whole, 'stage')} ({share:.0%})"


def _cost(cost: StoppingCost) -> str:
    """Return the regret, and the share of stopped configurations on the front, in words."""
    name, on_front = metric_name(cost.metric), cost.on_front
    regret = (
        f"Regret: the best audited configuration, {cost.best_audited}, ended "
        f"{_amount(cost.metric, cost.regret)} better in {name} than the best configuration that "
        f"was not stopped, {cost.best_kept}."
        if cost.regret > 0.0
        else f"Regret 0: no audited configuration ended better in {name} than the best "
        "configuration that was not stopped."
    )
    return (
        f"{regret} {on_front.k} of {count(on_front.n, 'audited configuration')} would be on the "
        f"front; for all stopped configurations the 95 % interval of this share is "
        f"{percent_range(on_front.low, on_front.high)}."
    )


def _amount(metric: str, value: float) -> str:
    """Return a positive difference with its unit."""
    return f"{100 * value:.1f} points" if unit(metric) == "%" else f"{value:,.0f}"


def _by_rung(inputs: ReportInputs, rungs: Sequence[Decision]) -> Figure:
    """Return the figure with the number of configurations at each rung, by verdict."""
    rule, sweep = inputs.sweep.early_stop, inputs.sweep
    at = sorted({decision.tasks for decision in rungs if decision.tasks is not None})
    verdicts = {tasks: Counter[str](o.verdict for o in rungs if o.tasks == tasks) for tasks in at}
    ticks = [f"after {count(tasks, 'task')}" for tasks in at]
    data: list[plots.PlotPart] = [
        {
            "type": "bar",
            "name": VERDICTS[verdict],
            "x": ticks,
            "y": [verdicts[tasks][verdict] for tasks in at],
            "marker": {"color": color},
            "hovertemplate": "%{x}: %{y}<extra>%{fullData.name}</extra>",
        }
        for verdict, color in (("goes on", "@1"), ("audit", "@2"), ("stops", "@faint"))
    ]
    look = plots.layout(
        "rung",
        "number of configurations",
        height=300,
        barmode="stack",
        bargap=0.45,
        xaxis={"type": "category", "showgrid": False},
        yaxis={"rangemode": "tozero"},
    )
    words = rule.in_words(sweep.base.stream.tasks, sweep.objectives) if rule else ""
    return Figure(
        id="stopping-rungs",
        title="Configurations at each rung",
        caption=f"{words} n = {count(len({o.config_id for o in rungs}), 'configuration')}.",
        spec=plots.plot_spec(data, look),
        table=table(
            [
                Column(title="rung", term="rung"),
                "#compared",
                "#continued",
                "#stopped",
                Column(title="of these audited", number=True, term="audit"),
            ],
            [
                [
                    tick,
                    verdicts[tasks].total(),
                    verdicts[tasks]["goes on"],
                    verdicts[tasks]["stops"] + verdicts[tasks]["audit"],
                    verdicts[tasks]["audit"],
                ]
                for tick, tasks in zip(ticks, at, strict=True)
            ],
        ),
        terms=("rung", "audit"),
    )


def _regret(cost: StoppingCost) -> Figure:
    """Return the figure with the difference of each audited configuration to the best kept one."""
    name, drawn = metric_name(cost.metric), cost.each[:SHOWN]
    significant = significant_of_list([audited.difference for audited in cost.each])
    pairs = sorted({a.difference.n for a in cost.each if a.difference is not None})
    margin = f"{_signed(cost.metric, cost.margin)}"
    if cost.margin_low is not None and cost.margin_high is not None:
        ends = (_signed(cost.metric, end) for end in (cost.margin_low, cost.margin_high))
        margin += f" ({' to '.join(ends)}, 95 % interval over the audited configurations)"
    return Figure(
        id="stopping-regret",
        title="Cost of early stopping",
        caption=(
            "Each audited configuration minus the best configuration that was not stopped, "
            f"{cost.best_kept}, {difference_unit(cost.metric)} of validation {name} after the "
            f"last task, with 95 % intervals; n = {count(cost.audited, 'audited configuration')}, "
            f"{'/'.join(map(str, pairs)) or 0} pairs of runs each. Mean difference: {margin}. "
            "The interval of the best audited configuration is overconfident, because it was "
            "selected by its result."
        ),
        spec=forest_plot(
            cost.metric,
            [a.label for a in drawn],
            [a.difference for a in drawn],
            significant[: len(drawn)],
        ),
        table=table(
            [
                Column(title="audited configuration", term="audit"),
                "#pairs of runs",
                Column(title="difference", number=True, term="regret"),
                Column(title="95 %", number=True, term="95 % interval"),
                "significant",
                Column(title="on the front", term="front"),
            ],
            [
                [audited.label, *_cells(cost.metric, audited, verdict(known))]
                for audited, known in list(zip(cost.each, significant, strict=True))[:LISTED]
            ],
            note=_cut(len(cost.each)),
        ),
        terms=("regret", "audit", "95 % interval", name),
    )


def _cells(metric: str, audited: AuditedConfiguration, significant: str) -> list[str]:
    difference, on_front = audited.difference, "yes" if audited.on_front else "no"
    if difference is None:
        return ["0", NOTHING, NOTHING, NOTHING, on_front]
    ends = "no interval"
    if difference.low is not None and difference.high is not None:
        ends = f"{_signed(metric, difference.low)} to {_signed(metric, difference.high)}"
    return [str(difference.n), _signed(metric, difference.mean), ends, significant, on_front]


def _signed(metric: str, value: float) -> str:
    return f"{unit_scale(metric) * value:+.1f}"


def _decided(rungs: Sequence[Decision]) -> Table:
    """Return a table of the last decisions: stopped configurations, then those that continued.

    Stopped configurations are sorted by rung, the last rung first.
    """
    last = {decision.config_id: decision for decision in rungs}
    weight = {"stops": 0, "audit": 0, "goes on": 1}
    rows = sorted(last.values(), key=lambda d: (weight[d.verdict], -(d.tasks or 0)))
    return table(
        [
            "configuration",
            Column(title="after tasks", number=True, term="rung"),
            "decision",
            "reason",
        ],
        [[o.label, o.tasks, VERDICTS[o.verdict], o.because] for o in rows[:LISTED]],
        note=_cut(len(rows)),
    )


def _cut(n: int) -> str:
    return f"the first {LISTED} of {n:,}" if n > LISTED else ""
