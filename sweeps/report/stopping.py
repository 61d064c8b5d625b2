"""What early stopping and the race left out, and what that cost, as the audit measured it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sweeps.analysis.effects.stopping_audit import (
    Audited,
    Saving,
    StoppingCost,
    Verdicts,
    saving,
    stopping_cost,
    verdicts_of,
)
from sweeps.analysis.runs.paired_differences import configurations
from sweeps.report import plots
from sweeps.report.differences import forest, in_unit, scale_of
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import between, count, metric_name, unit
from sweeps.report.model import NOTHING, Column, Figure, Section, Table, table
from sweeps.report.racing_section import raced
from sweeps.search.step import Decision

LISTED = 60
SHOWN = 24
"""Audited configurations in the plot."""
VERDICTS = {"goes on": "went on", "stops": "stopped", "audit": "stopped, audited"}


def declares_rules(evidence: Evidence) -> bool:
    """Whether the sweep lets anything run shorter or fewer times than it declares."""
    return evidence.sweep.early_stop is not None or evidence.sweep.racing is not None


def stopping_section(evidence: Evidence) -> Section:
    """Who was stopped at which rung, what it spared, and the regret; and what the race decided."""
    rungs = [one for one in evidence.decisions if one.by == "early_stop"]
    race = [one for one in evidence.decisions if one.by == "racing"]
    verdicts = verdicts_of((one.config_id, one.verdict) for one in rungs)
    parts: list[str] = []
    figures: list[Figure] = []
    tables: list[tuple[str, Table]] = []
    notes: list[str] = []
    if evidence.sweep.early_stop is not None:
        parts.append(_stopped(evidence, rungs, verdicts, figures, notes))
    if evidence.sweep.racing is not None:
        parts.append(raced(evidence, race, tables))
    if verdicts.stopped:
        tables.insert(0, ("What the rungs decided", _decided(rungs)))
    return Section(
        id="stopping",
        title="Stopped early",
        short="Stopping",
        lead=" ".join(parts),
        figures=tuple(figures),
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _stopped(
    evidence: Evidence,
    rungs: Sequence[Decision],
    verdicts: Verdicts,
    figures: list[Figure],
    notes: list[str],
) -> str:
    """The rungs in words; their figures and what is not known are added."""
    if not rungs:
        return "No rung has been decided yet, so nothing was stopped early."
    figures.append(_by_rung(evidence, rungs))
    if not verdicts.stopped:
        return "No configuration was stopped: all that stood at a rung went on."
    spared = saving(evidence.trials)
    stood = len({one.config_id for one in rungs})
    told = (
        f"{len(verdicts.stopped)} of {count(stood, 'configuration')} stopped early, "
        f"{_audit(verdicts)}; that spared {_spared(spared)}."
    )
    if not verdicts.audited:
        notes.append("What stopping cost is not known: none of the stopped ran on for the audit.")
        return told
    cost = stopping_cost(
        configurations(evidence.by_split["validation"], evidence.readout, "validation"),
        evidence.sweep.objectives,
        **verdicts._asdict(),
        fixed_orders=evidence.fixed_orders,
    )
    if cost is None:
        notes.append("What stopping cost is not known yet: the audit has not finished.")
        return told
    figures.append(_regret(cost))
    return f"{told} {_cost(cost)}"


def _audit(verdicts: Verdicts) -> str:
    n = len(verdicts.audited)
    if n == 0:
        return "none of them audited"
    share = n / len(verdicts.stopped)
    return f"{n} of them ({share:.0%}) {'runs' if n == 1 else 'run'} on for the audit"


def _spared(found: Saving) -> str:
    share = found.spared / found.whole if found.whole else 0.0
    return f"{found.spared:,} of {count(found.whole, 'stage')} ({share:.0%})"


def _cost(cost: StoppingCost) -> str:
    """The regret in a sentence."""
    name, seen = metric_name(cost.metric), cost.on_front
    told = (
        f"Regret: {cost.best_audited} ended {_amount(cost.metric, cost.regret)} better in {name} "
        f"than the best that went on, {cost.best_kept}."
        if cost.regret > 0.0
        else f"Regret 0: no audited one ended better in {name} than the best that went on."
    )
    return (
        f"{told} {seen.k} of {count(seen.n, 'audited one')} would be on the front, so of all "
        f"stopped ones {between(seen.low, seen.high)} (95 % interval)."
    )


def _amount(metric: str, value: float) -> str:
    """A positive difference with its unit."""
    return f"{100 * value:.1f} points" if unit(metric) == "%" else f"{value:,.0f}"


def _by_rung(evidence: Evidence, rungs: Sequence[Decision]) -> Figure:
    """How many went on, stopped and ran on for the audit after each rung."""
    rule, sweep = evidence.sweep.early_stop, evidence.sweep
    at = sorted({one.tasks for one in rungs if one.tasks is not None})
    found = {tasks: Counter[str](o.verdict for o in rungs if o.tasks == tasks) for tasks in at}
    ticks = [f"after {count(tasks, 'task')}" for tasks in at]
    data = [
        {
            "type": "bar",
            "name": VERDICTS[verdict],
            "x": ticks,
            "y": [found[tasks][verdict] for tasks in at],
            "marker": {"color": colour},
            "hovertemplate": "%{x}: %{y}<extra>%{fullData.name}</extra>",
        }
        for verdict, colour in (("goes on", "@1"), ("audit", "@2"), ("stops", "@faint"))
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
        title="Who went on from each rung",
        caption=f"{words} n = {count(len({o.config_id for o in rungs}), 'configuration')}.",
        spec=plots.spec(data, look),
        table=table(
            [
                Column(title="rung", term="rung"),
                "#stood there",
                "#went on",
                "#stopped",
                Column(title="of these audited", number=True, term="audit"),
            ],
            [
                [
                    tick,
                    found[tasks].total(),
                    found[tasks]["goes on"],
                    found[tasks]["stops"] + found[tasks]["audit"],
                    found[tasks]["audit"],
                ]
                for tick, tasks in zip(ticks, at, strict=True)
            ],
        ),
        terms=("rung", "audit"),
    )


def _regret(cost: StoppingCost) -> Figure:
    """Every audited configuration against the best that went on."""
    name, drawn = metric_name(cost.metric), cost.each[:SHOWN]
    runs = sorted({one.difference.n for one in cost.each if one.difference is not None})
    margin = f"{_signed(cost.metric, cost.margin)}"
    if cost.margin_low is not None and cost.margin_high is not None:
        ends = (_signed(cost.metric, end) for end in (cost.margin_low, cost.margin_high))
        margin += f" ({' to '.join(ends)}, 95 % interval over the audited ones)"
    return Figure(
        id="stopping-regret",
        title="What stopping cost",
        caption=(
            f"Each audited configuration less the best that went on, {cost.best_kept}, "
            f"{in_unit(cost.metric)} of validation {name} after the last task, with 95 % "
            f"intervals; n = {count(cost.audited, 'audited configuration')}, "
            f"{'/'.join(map(str, runs)) or 0} pairs of runs each. On average they ended {margin} "
            "against it. "
            "The best of them is chosen after the fact, so its interval is too sure of a regret."
        ),
        spec=forest(cost.metric, [one.label for one in drawn], [one.difference for one in drawn]),
        table=table(
            [
                Column(title="audited configuration", term="audit"),
                "#pairs of runs",
                Column(title="difference", number=True, term="regret"),
                Column(title="95 %", number=True, term="95 % interval"),
                "shown",
                Column(title="on the front", term="front"),
            ],
            [[one.label, *_cells(cost.metric, one)] for one in cost.each[:LISTED]],
            note=_cut(len(cost.each)),
        ),
        terms=("regret", "audit", "95 % interval", name),
    )


def _cells(metric: str, one: Audited) -> list[str]:
    held, place = one.difference, "yes" if one.on_front else "no"
    if held is None:
        return ["0", NOTHING, NOTHING, NOTHING, place]
    ends = "no interval"
    if held.low is not None and held.high is not None:
        scale = scale_of(metric)
        ends = f"{scale * held.low:+.1f} to {scale * held.high:+.1f}"
    settled = NOTHING if held.settled is None else "yes" if held.settled else "no"
    return [str(held.n), f"{scale_of(metric) * held.mean:+.1f}", ends, settled, place]


def _signed(metric: str, value: float) -> str:
    return f"{scale_of(metric) * value:+.1f}"


def _decided(rungs: Sequence[Decision]) -> Table:
    """Those that were stopped, the last rung first, then those that went on to the end."""
    last = {one.config_id: one for one in rungs}
    weight = {"stops": 0, "audit": 0, "goes on": 1}
    rows = sorted(last.values(), key=lambda one: (weight[one.verdict], -(one.tasks or 0)))
    return table(
        [
            "configuration",
            Column(title="after tasks", number=True, term="rung"),
            "verdict",
            "because",
        ],
        [[o.label, o.tasks, VERDICTS[o.verdict], o.because] for o in rows[:LISTED]],
        note=_cut(len(rows)),
    )


def _cut(n: int) -> str:
    return f"the first {LISTED} of {n:,}" if n > LISTED else ""
