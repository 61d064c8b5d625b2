"""Selection card: the chosen configuration, the reasons, the runner-up, and expected results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clmethods.metrics import Direction
from sweeps.analysis.selection.selection import Candidate, MetricLimit, Selection, metric_estimate
from sweeps.analysis.trials.paired_differences import Comparison, compare
from sweeps.analysis.trials.power import detectable_difference, smallest_design
from sweeps.analysis.trials.replicates import Replicates
from sweeps.presentation.selection_card_numbers import (
    SelectionQuestion,
    expectations,
    interval_text,
    mean_with_interval,
    metric_text,
    predicted_interval,
    test_replicates,
)
from sweeps.presentation.text_tables import FRACTIONS

__all__ = [
    "CardEntry",
    "SelectionQuestion",
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
    excluded = [CardEntry("excluded", (name,)) for name in choice.incomplete]
    if choice.chosen is None:
        return [*_no_choice(question, choice), *excluded]
    chosen = choice.chosen
    return [
        CardEntry("choose", (chosen.name,)),
        *_reasons(question, choice, _numbers(question, chosen, test)),
        _runner_up(question, choice, chosen),
        *(CardEntry("expected", (line,)) for line in expectations(question, chosen, test)),
        *excluded,
    ]


def _reasons(
    question: SelectionQuestion, choice: Selection, numbers: Sequence[str]
) -> list[CardEntry]:
    """Return the reason for the choice with its numbers, and a warning about missing intervals."""
    total = len(choice.admissible) + len(choice.refused)
    pessimistic = question.basis == "pessimistic"
    parts = []
    if question.limits:
        basis = (
            "at the worse end of the 95 % interval and in the worst order"
            if pessimistic
            else "on average"
        )
        parts.append(f"{len(choice.admissible)} of {total} satisfy {_limits(question)} {basis}")
    else:
        parts.append(f"{total} configurations were compared")
    best = (
        f"the best {question.prefer}"
        if question.prefer
        else f"the knee of {' and '.join(question.objectives)}"
    )
    parts.append(
        f"of these it has {best}" + (", by the pessimistic estimate" if pessimistic else "")
    )
    reason = "; ".join(parts)
    warning = _missing_intervals(question, choice)
    warnings = [CardEntry("warning", (warning,))] if warning is not None else []
    return [CardEntry("reason", (reason, *numbers)), *warnings]


def _missing_intervals(question: SelectionQuestion, choice: Selection) -> str | None:
    """Return a warning if pessimistic estimates of some configurations are means."""
    considered = (*choice.admissible, *choice.refused)
    without = [
        candidate
        for candidate in considered
        if any(each.interval.low is None for each in candidate.estimates.values())
    ]
    if question.basis == "mean" or not without:
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


def _numbers(question: SelectionQuestion, chosen: Candidate, test: TestRuns) -> list[str]:
    """Return one line per metric: validation, the worst order, and test."""
    lines = []
    on_tests = test_replicates(chosen, test)
    for metric, validation in chosen.estimates.items():
        line = f"{metric}: validation {mean_with_interval(metric, validation.interval)}"
        if validation.worst_order:
            worst = metric_text(metric, validation.worst)
            line += f", worst order {validation.worst_order} {worst}"
        tested = None
        if on_tests is not None and on_tests.metrics.get(metric):
            tested = metric_estimate(on_tests, metric, "max", fixed_orders=question.fixed_orders)
        if tested is not None:
            line += f"; test {mean_with_interval(metric, tested.interval)}"
        lines.append(line)
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
    for name, replicates in (("validation", chosen.replicates), ("test", on_tests)):
        if replicates is None:
            continue
        used = set(question.chosen_on or ())
        others = [cell for cell in replicates.cells if cell not in used]
        parts = []
        for metric, direction in question.objectives.items():
            held_out = metric_estimate(replicates, metric, direction, others)
            if held_out is not None:
                parts.append(f"{metric} {mean_with_interval(metric, held_out.interval)}")
        if parts:
            lines.append(f"on the {len(others)} held-out runs, {name}: " + ", ".join(parts))
    return lines or ["no held-out runs remain"]


def _runner_up(question: SelectionQuestion, choice: Selection, chosen: Candidate) -> CardEntry:
    """Return the runner-up, its distance, the design that would decide, and the cost of limits."""
    second = choice.runner_up
    lines: list[str] = []
    if second is None:
        lines.append("none: no other configuration satisfies the limits")
    else:
        metric = question.leading
        lines.append(second.name)
        lines += _margin(question, metric, _paired(question, chosen, second, metric))
        for other, direction in question.objectives.items():
            if other != metric:
                lines += _advantage(other, direction, chosen, second, question)
    best = choice.unlimited
    if best is not None and best.name != chosen.name and question.limits:
        metric = question.leading
        lines.append(
            f"without the limits the choice would be {best.name}: {metric} "
            f"{metric_text(metric, best.estimates[metric].interval.mean)}"
        )
    return CardEntry("runner-up", tuple(lines))


def _paired(
    question: SelectionQuestion, first: Candidate, second: Candidate, metric: str
) -> Comparison | None:
    """Return first - second, on held-out runs if the selection used only some of the runs."""
    only = None
    if question.chosen_on is not None:
        used = set(question.chosen_on)
        only = [cell for cell in first.replicates.cells if cell not in used]
        only = only or list(question.chosen_on)
    return compare(
        first.replicates,
        second.replicates,
        metric,
        fixed_orders=question.fixed_orders,
        only=only,
    )


def _margin(question: SelectionQuestion, metric: str, comparison: Comparison | None) -> list[str]:
    """Return the difference between choice and runner-up, and the design that would decide it."""
    if comparison is None:
        return ["the difference is not known: the two have no common order and seed"]
    sign = 1.0 if question.objectives[metric] == "max" else -1.0
    gain = sign * comparison.interval.mean
    side = "better" if gain >= 0 else "worse"
    line = (
        f"{metric}: the choice is {metric_text(metric, abs(gain))} {side}, paired over "
        f"{_runs(comparison.interval.n)}"
    )
    if comparison.unpaired:
        line += f" ({_runs(comparison.unpaired)} without a partner left out)"
    if comparison.interval.low is None:
        return [f"{line}: not significant, {comparison.interval.note}"]
    both = interval_text(metric, comparison.interval, sign)
    verdict = "significant" if comparison.significant else "not significant"
    lines = [f"{line}, 95 % {both}: {verdict}"]
    spread = comparison.spread
    if comparison.significant or spread is None:
        return lines
    smallest = detectable_difference(spread, spread.orders, spread.seeds)
    lines.append(
        f"{spread.orders} orders x {spread.seeds} seeds can detect a difference of "
        f"{metric_text(metric, smallest)}; " + _replicates(smallest_design(spread, gain))
    )
    return lines


def _replicates(design: tuple[int, int] | None) -> str:
    if design is None:
        return "this one is too small for any design up to 64 x 64: use either configuration"
    orders, seeds = design
    return f"{orders} orders x {seeds} seeds would detect this one"


def _advantage(
    metric: str,
    direction: Direction,
    chosen: Candidate,
    second: Candidate,
    question: SelectionQuestion,
) -> list[str]:
    """Return a line if the runner-up is better in another objective."""
    comparison = _paired(question, second, chosen, metric)
    sign = 1.0 if direction == "max" else -1.0
    if comparison is None or sign * comparison.interval.mean <= 0:
        return []
    return [
        f"{metric}: the runner-up is {metric_text(metric, abs(comparison.interval.mean))} better, "
        f"95 % {interval_text(metric, comparison.interval, sign)}"
    ]


def _no_choice(question: SelectionQuestion, choice: Selection) -> list[CardEntry]:
    """Return the reason why nothing is chosen, and the configurations closest to the limits."""
    pessimistic = question.basis == "pessimistic"
    if not choice.refused:
        text = "nothing: no configuration has a finished run with these metrics"
        return [CardEntry("choose", (text,))]
    text = f"nothing: no configuration satisfies {_limits(question)}"
    entries = [
        CardEntry("choose", (text + (", by the pessimistic estimate" if pessimistic else ""),))
    ]
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
    if pessimistic and wide:
        text = (
            f"{len(wide)} satisfy the limits on average only; more orders and seeds make the "
            "intervals narrower, and --by mean selects by the averages"
        )
        entries.append(CardEntry("reason", (text,)))
    return entries


def _mean_keeps(limit: MetricLimit, candidate: Candidate) -> bool:
    mean = candidate.estimates[limit.metric].interval.mean
    return mean <= limit.bound if limit.kind == "max" else mean >= limit.bound


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"
