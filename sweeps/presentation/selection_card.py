"""The selection card: choose this, because, unless, and what would settle it."""

from __future__ import annotations

from collections.abc import Mapping

from clmethods.metrics import Direction
from sweeps.analysis.runs.paired_differences import Comparison, compare
from sweeps.analysis.runs.power import detectable, needed
from sweeps.analysis.runs.replicates import Replicates
from sweeps.analysis.selection.selection import Candidate, Choice, Limit, standing
from sweeps.presentation.selection_card_numbers import (
    Question,
    ends,
    expectations,
    on_test,
    prediction,
    shown,
    with_ends,
)
from sweeps.presentation.text_tables import FRACTIONS

__all__ = ["Question", "card", "prediction", "shown"]

REFUSED = 3
"""Configurations shown when none keeps every limit."""


def card(question: Question, choice: Choice, test: Mapping[tuple[str, str], Replicates]) -> str:
    """The whole card; `test` holds the test replicates by (config_id, readout_id)."""
    if choice.chosen is None:
        return "\n".join(_nothing(question, choice))
    chosen = choice.chosen
    lines = [
        f"choose    {chosen.name}",
        f"because   {_because(question, choice)}",
        *_beware(question, choice),
        *_numbers(question, chosen, test),
        *_unless(question, choice, chosen),
        *expectations(question, chosen, test),
    ]
    lines += [f"left out  {name}" for name in choice.incomplete]
    return "\n".join(lines)


def _because(question: Question, choice: Choice) -> str:
    total = len(choice.admissible) + len(choice.refused)
    sure = question.basis == "pessimistic"
    parts = []
    if question.limits:
        limits = _limits(question)
        how = (
            "even at the bad end of the 95 % interval and in the worst order"
            if sure
            else ("in the mean")
        )
        parts.append(f"{len(choice.admissible)} of {total} keep {limits} {how}")
    else:
        parts.append(f"{total} configurations were compared")
    best = (
        f"the best {question.prefer}"
        if question.prefer
        else (f"the knee of {' and '.join(question.objectives)}")
    )
    parts.append(f"of them this one has {best}" + (", pessimistically" if sure else ""))
    return "; ".join(parts)


def _limits(question: Question) -> str:
    """The limits with the units of the card."""
    return " and ".join(
        f"{limit.metric} {'<=' if limit.kind == 'max' else '>='} "
        f"{shown(limit.metric, limit.bound)}{' %' if limit.metric in FRACTIONS else ''}"
        for limit in question.limits
    )


def _numbers(
    question: Question, chosen: Candidate, test: Mapping[tuple[str, str], Replicates]
) -> list[str]:
    """A line per metric: validation as it decided, the worst order, and test beside it."""
    lines = []
    for metric, held in chosen.standings.items():
        order = f", worst order {held.worst_order} {shown(metric, held.worst)}"
        line = f"          {metric}: validation {with_ends(metric, held.interval)}"
        line += order if held.worst_order else ""
        one = on_test(chosen, test)
        beside = None
        if one is not None and one.metrics.get(metric):
            beside = standing(one, metric, "max", fixed_orders=question.fixed_orders)
        if beside is not None:
            line += f"; test {with_ends(metric, beside.interval)}"
        lines.append(line)
    if question.chosen_on is not None:
        lines += _elsewhere(question, chosen, test)
    notes = dict.fromkeys(held.interval.note for held in chosen.standings.values())
    lines += [f"          percent; 95 % intervals over {note}" for note in notes]
    return lines


def _elsewhere(
    question: Question, chosen: Candidate, test: Mapping[tuple[str, str], Replicates]
) -> list[str]:
    """The same metrics on the runs that were not looked at."""
    lines = []
    for name, one in (("validation", chosen.replicates), ("test", on_test(chosen, test))):
        if one is None:
            continue
        others = [cell for cell in one.cells if cell not in set(question.chosen_on or ())]
        parts = []
        for metric, wants in question.objectives.items():
            held = standing(one, metric, wants, others)
            if held is not None:
                parts.append(f"{metric} {with_ends(metric, held.interval)}")
        if parts:
            lines.append(
                f"          on the {len(others)} runs never looked at, {name}: " + ", ".join(parts)
            )
    return lines or ["          no run is left that was not looked at"]


def _unless(question: Question, choice: Choice, chosen: Candidate) -> list[str]:
    """The runner-up, how far it is, what would settle it; and what the limits cost."""
    second = choice.runner_up
    lines: list[str] = []
    if second is None:
        lines.append("unless    nothing else keeps the limits: there is no runner-up")
    else:
        metric = question.leading
        found = _paired(question, chosen, second, metric)
        lines.append(f"unless    {second.name} is better after all: it is the runner-up")
        lines += _margin(question, metric, found)
        for other, wants in question.objectives.items():
            if other != metric:
                lines += _other(other, wants, chosen, second, question)
    best = choice.unlimited
    if best is not None and best.name != chosen.name and question.limits:
        metric = question.leading
        lines.append(
            f"          without the limits it would be {best.name}: {metric} "
            f"{shown(metric, best.standings[metric].interval.mean)}"
        )
    return lines


def _paired(
    question: Question, one: Candidate, other: Candidate, metric: str
) -> Comparison | None:
    """one - other, on the runs never looked at where the choice looked at some only."""
    only = None
    if question.chosen_on is not None:
        looked = set(question.chosen_on)
        only = [cell for cell in one.replicates.cells if cell not in looked]
        only = only or list(question.chosen_on)
    return compare(
        one.replicates,
        other.replicates,
        metric,
        fixed_orders=question.fixed_orders,
        only=only,
    )


def _margin(question: Question, metric: str, found: Comparison | None) -> list[str]:
    if found is None:
        return ["          they share no order and seed: the difference is not known"]
    sign = 1.0 if question.objectives[metric] == "max" else -1.0
    ahead = sign * found.interval.mean
    side = "ahead of it" if ahead >= 0 else "behind it"
    line = (
        f"          {metric}: {shown(metric, abs(ahead))} {side}, paired over "
        f"{_runs(found.interval.n)}"
    )
    if found.unpaired:
        line += f" ({_runs(found.unpaired)} without a partner left out)"
    if found.interval.low is None:
        return [f"{line}: not settled, {found.interval.note}"]
    both = ends(metric, found.interval, sign)
    lines = [f"{line}, 95 % {both}: {'settled' if found.settled else 'not settled'}"]
    spread = found.spread
    if found.settled or spread is None:
        return lines
    at_hand = detectable(spread, spread.orders, spread.seeds)
    lines.append(
        f"          {spread.orders} orders x {spread.seeds} seeds can show a difference of "
        f"{shown(metric, at_hand)}; " + _replicates(needed(spread, ahead))
    )
    return lines


def _replicates(design: tuple[int, int] | None) -> str:
    if design is None:
        return "this one is too small for any design up to 64 x 64: take either"
    orders, seeds = design
    return f"{orders} orders x {seeds} seeds would settle this one"


def _other(
    metric: str, wants: Direction, chosen: Candidate, second: Candidate, question: Question
) -> list[str]:
    """Where the runner-up is better in another objective."""
    found = _paired(question, second, chosen, metric)
    sign = 1.0 if wants == "max" else -1.0
    if found is None or sign * found.interval.mean <= 0:
        return []
    return [
        f"          {metric}: the runner-up is better by "
        f"{shown(metric, abs(found.interval.mean))}, 95 % {ends(metric, found.interval, sign)}"
    ]


def _nothing(question: Question, choice: Choice) -> list[str]:
    limits = _limits(question)
    lines = [f"choose    nothing: no configuration keeps {limits}"]
    if question.basis == "pessimistic":
        lines[0] += " for sure"
    if not choice.refused:
        lines = ["choose    nothing: no configuration has a finished run with these metrics"]
    for candidate in choice.refused[:REFUSED]:
        parts = []
        for limit in candidate.broken:
            held, name = candidate.standings[limit.metric], limit.metric
            order = f" in order {held.worst_order}" if held.worst_order else ""
            parts.append(
                f"{name} {with_ends(name, held.interval)}, worst {shown(name, held.worst)}{order}"
            )
        lines.append(f"nearest   {candidate.name}: {'; '.join(parts)}")
    wide = [c for c in choice.refused if all(_mean_keeps(limit, c) for limit in question.limits)]
    if question.basis == "pessimistic" and wide:
        lines.append(
            f"because   {len(wide)} keep it in the mean alone; more orders and seeds narrow the "
            "intervals, --by mean takes the risk"
        )
    lines += [f"left out  {name}" for name in choice.incomplete]
    return lines


def _mean_keeps(limit: Limit, candidate: Candidate) -> bool:
    mean = candidate.standings[limit.metric].interval.mean
    return mean <= limit.bound if limit.kind == "max" else mean >= limit.bound


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"


def _beware(question: Question, choice: Choice) -> list[str]:
    """What the pessimistic numbers lack."""
    considered = (*choice.admissible, *choice.refused)
    alone = [
        candidate
        for candidate in considered
        if any(held.interval.low is None for held in candidate.standings.values())
    ]
    if question.basis == "mean" or not alone:
        return []
    return [
        f"beware    {len(alone)} of {len(considered)} have no interval, for want of replicates: "
        "their means stood in"
    ]
