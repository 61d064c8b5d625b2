"""Selection card: the chosen configuration, the reasons, the runner-up, and expected results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.analysis.selection.holdout import holdout
from sweeps.analysis.selection.selection import Selection
from sweeps.analysis.selection.selection_candidates import (
    COSTS,
    Candidate,
    MetricLimit,
    metric_estimate,
)
from sweeps.analysis.trials.replicates import Replicates
from sweeps.presentation.numbers import count
from sweeps.presentation.selection_card_numbers import (
    SelectionQuestion,
    expectations,
    mean_with_interval,
    metric_text,
    predicted_interval,
    selected_text,
    test_replicates,
)
from sweeps.presentation.selection_card_runner_up import runner_up_lines
from sweeps.presentation.text_tables import FRACTIONS

__all__ = [
    "CardEntry",
    "SelectionQuestion",
    "brief_card_entries",
    "card_entries",
    "metric_text",
    "predicted_interval",
    "selection_card_text",
]

REFUSED = 3
"""Maximum number of configurations shown if none satisfies every limit."""
MARGIN = 10
"""Width of the labels in the text of a card."""

TestRuns = Mapping[tuple[str, str], Replicates]
"""Replicates on test images, by (config_id, readout_id)."""


@dataclass(frozen=True, slots=True)
class CardEntry:
    """Labeled part of the selection card."""

    label: str
    lines: tuple[str, ...]


def selection_card_text(question: SelectionQuestion, choice: Selection, test: TestRuns) -> str:
    """Return the selection card as text, with labels in the first 10 columns."""
    return "\n".join(
        f"{entry.label if index == 0 else '':<{MARGIN}}{line}"
        for entry in card_entries(question, choice, test)
        for index, line in enumerate(entry.lines)
    )


def card_entries(
    question: SelectionQuestion, choice: Selection, test: TestRuns
) -> list[CardEntry]:
    """Return the entries of the selection card; the first names the choice."""
    excluded = [CardEntry("excluded", (str(each),)) for each in choice.incomplete]
    if choice.chosen is None:
        return [*_no_choice(question, choice), *excluded]
    chosen = choice.chosen
    return [
        CardEntry("choose", (chosen.name,)),
        *_reasons(question, choice, _numbers(question, choice, chosen, test)),
        CardEntry("runner-up", runner_up_lines(question, choice, chosen)),
        *(CardEntry("expected", (line,)) for line in expectations(question, chosen, test)),
        *excluded,
    ]


def brief_card_entries(
    question: SelectionQuestion, choice: Selection, test: TestRuns
) -> list[CardEntry]:
    """Return the choice, its reason, its distance to the runner-up, and the result to expect.

    The entries are those of `card_entries`, without further numbers.
    """
    chosen = choice.chosen
    if chosen is None:
        return card_entries(question, choice, test)
    runner_up = runner_up_lines(question, choice, chosen)[:2]  # the name and the distance
    expected = expectations(question, chosen, test)[:1]  # of the first objective
    return [
        CardEntry("choose", (chosen.name,)),
        *_reasons(question, choice, ()),
        CardEntry("runner-up", runner_up),
        *(CardEntry("expected", (line,)) for line in expected),
    ]


def _reasons(
    question: SelectionQuestion, choice: Selection, numbers: Sequence[str]
) -> list[CardEntry]:
    """Return the reason for the choice with its numbers, and a warning about missing intervals."""
    parts = []
    if question.limits:
        satisfied = f"{len(choice.admissible)} of {_compared(choice)} satisfy {_limits(question)}"
        parts.append(f"{satisfied} {_confidence(question, choice)}")
    else:
        parts.append(f"{_compared(choice)} were compared")
    best = (
        f"the best {question.prefer}"
        if question.prefer
        else f"the knee of {' and '.join(question.objectives)}"
    )
    by = _basis(question, choice)
    if question.within is not None and question.prefer is not None and choice.within > 1:
        parts.append(
            f"{choice.within} of these are within {metric_text(question.prefer, question.within)} "
            f"points of {best}{by}; of these it is the cheapest ({_costs(choice)})"
        )
    else:
        parts.append(f"of these it has {best}{by}")
    reason = "; ".join(parts)
    warning = _missing_intervals(question, choice)
    warnings = [CardEntry("warning", (warning,))] if warning is not None else []
    return [CardEntry("reason", (reason, *numbers)), *warnings]


def _compared(choice: Selection) -> str:
    """Return the number of candidates; those of one configuration differ in the readout."""
    considered = (*choice.admissible, *choice.refused)
    configurations = count(len({c.replicates.config_id for c in considered}), "configuration")
    if len({c.replicates.readout_id for c in considered}) < 2:
        return configurations
    return f"{count(len(considered), 'candidate')} ({configurations}, each with its readouts)"


def _by_means(question: SelectionQuestion, choice: Selection) -> bool:
    """Return True if means decided, also because there are no bounds."""
    return question.basis == "mean" or (question.basis == "bound" and choice.common_runs is None)


def _confidence(question: SelectionQuestion, choice: Selection) -> str:
    """Return how the limits were compared with the estimates."""
    if question.basis == "pessimistic":
        return "at the worse end of the 95 % interval and in the worst order"
    if _by_means(question, choice):
        return "on average"
    return f"with 95 % confidence, corrected for {_compared(choice)}"


def _basis(question: SelectionQuestion, choice: Selection) -> str:
    """Return the number that the configurations were ranked by; empty for means."""
    if question.basis == "pessimistic":
        return ", by the pessimistic estimate"
    if _by_means(question, choice):
        return ""
    return f", by the one-sided 80 % bound over {choice.common_runs} common runs"


def _costs(choice: Selection) -> str:
    """Return the known costs of the choice, in the sequence in which they decide."""
    costs = choice.chosen.costs if choice.chosen is not None else ()
    return ", ".join(
        f"{cost:,.0f} {name.replace('_', ' ')}"
        for name, cost in zip(COSTS, costs, strict=True)
        if cost < float("inf")
    )


def _missing_intervals(question: SelectionQuestion, choice: Selection) -> str | None:
    """Return a warning if means were used because there are no bounds or intervals."""
    considered = (*choice.admissible, *choice.refused)
    if question.basis == "bound" and choice.common_runs is None:
        return (
            "the configurations do not have enough runs in common for bounds; their means were "
            "used, and no limit is kept for sure"
            if question.limits
            else "the configurations do not have enough runs in common for bounds; their means "
            "were used"
        )
    without = [
        candidate
        for candidate in considered
        if any(each.interval.low is None for each in candidate.estimates.values())
    ]
    if question.basis != "pessimistic" or not without:
        return None
    return (
        f"{len(without)} of {len(considered)} configurations have no interval, because they do "
        "not have enough replicates; their means were used"
    )


def _limits(question: SelectionQuestion) -> str:
    """Return the limits in the units of the card."""
    return " and ".join(
        f"{limit.metric} {'<=' if limit.kind == 'max' else '>='} "
        f"{metric_text(limit.metric, limit.bound)}{' %' if limit.metric in FRACTIONS else ''}"
        for limit in question.limits
    )


def _numbers(
    question: SelectionQuestion, choice: Selection, chosen: Candidate, test: TestRuns
) -> list[str]:
    """Return one line per metric: validation, the worst order, and test."""
    lines = []
    on_tests = test_replicates(chosen, test)
    for metric, validation in chosen.estimates.items():
        line = f"{metric}: validation {mean_with_interval(metric, validation.interval)}"
        worst = metric_text(metric, validation.worst)
        if validation.worst_order and worst == metric_text(metric, validation.interval.mean):
            line += ", the same in every order"
        elif validation.worst_order:
            line += f", worst order {validation.worst_order} {worst}"
        tested = None
        if on_tests is not None and on_tests.metrics.get(metric):
            tested = metric_estimate(on_tests, metric, "max", fixed_orders=question.fixed_orders)
        if tested is not None:
            line += f"; test {mean_with_interval(metric, tested.interval)}"
        lines.append(line)
    compared = len(choice.admissible) + len(choice.refused)
    lines += [
        f"{metric}: {selected_text(metric, validation.selected)} on validation, if corrected for "
        f"the selection among {compared}"
        for metric, validation in chosen.estimates.items()
        if validation.selected is not None and metric in FRACTIONS
    ]
    if question.chosen_on is not None:
        lines += _held_out(question, chosen, on_tests)
    notes = dict.fromkeys(each.interval.note for each in chosen.estimates.values())
    lines += [f"percent; 95 % intervals over {note}" for note in notes]
    return lines


def _held_out(
    question: SelectionQuestion, chosen: Candidate, on_tests: Replicates | None
) -> list[str]:
    """Return the same metrics on the runs that the selection did not use."""
    lines = []
    shared: dict[str, None] = {}
    left_out = False
    for name, replicates in (("validation", chosen.replicates), ("test", on_tests)):
        if replicates is None:
            continue
        held_out = holdout(
            replicates.cells, question.chosen_on or (), fixed_orders=question.fixed_orders
        )
        shared.update(dict.fromkeys(held_out.shared))
        left_out = left_out or held_out.left_out > 0
        parts = []
        for metric, direction in question.objectives.items():
            estimate = metric_estimate(replicates, metric, direction, held_out.cells)
            if estimate is not None:
                parts.append(f"{metric} {mean_with_interval(metric, estimate.interval)}")
        if parts:
            without = f", {held_out.left_out} left out" if held_out.left_out else ""
            lines.append(
                f"on the {count(len(held_out.cells), 'held-out run')}{without}, {name}: "
                + ", ".join(parts)
            )
    if shared:
        lines.append(
            f"the held-out runs share {' and '.join(shared)} with those of the selection, so that "
            "their values are too good; --choose-on with some orders and some seeds avoids this"
        )
    elif left_out:
        lines.append("runs that share an order or a seed with those of the selection are left out")
    return lines or ["no held-out runs remain"]


def _no_choice(question: SelectionQuestion, choice: Selection) -> list[CardEntry]:
    """Return the reason why nothing is chosen, and the configurations closest to the limits."""
    if not choice.refused:
        text = "nothing: no configuration has a finished run with these metrics"
        return [CardEntry("choose", (text,))]
    text = f"nothing: no configuration satisfies {_limits(question)}"
    entries = [CardEntry("choose", (f"{text} {_confidence(question, choice)}",))]
    for candidate in choice.refused[:REFUSED]:
        parts = []
        for limit in candidate.violated:
            value, name = candidate.estimates[limit.metric], limit.metric
            order = f" in order {value.worst_order}" if value.worst_order else ""
            worst = metric_text(name, value.worst)
            parts.append(
                f"{name} {mean_with_interval(name, value.interval)}, worst {worst}{order}"
            )
        entries.append(CardEntry("nearest", (f"{candidate.name}: {'; '.join(parts)}",)))
    wide = [c for c in choice.refused if all(_mean_keeps(limit, c) for limit in question.limits)]
    if wide and not _by_means(question, choice):
        text = (
            f"{len(wide)} satisfy the limits on average only; more orders and seeds make the "
            "intervals narrower, and --by mean selects by the averages"
        )
        entries.append(CardEntry("reason", (text,)))
    return entries


def _mean_keeps(limit: MetricLimit, candidate: Candidate) -> bool:
    mean = candidate.estimates[limit.metric].interval.mean
    return mean <= limit.bound if limit.kind == "max" else mean >= limit.bound
