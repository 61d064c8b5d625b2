"""Runner-up of the selection card: its distance, and the design that would decide."""

from __future__ import annotations

from collections.abc import Sequence

from clmethods.metrics import Direction
from sweeps.analysis.selection.holdout import holdout
from sweeps.analysis.selection.selection import Selection
from sweeps.analysis.selection.selection_candidates import Candidate
from sweeps.analysis.trials.paired_differences import Comparison, compare
from sweeps.analysis.trials.planned_design import MOST, smallest_design
from sweeps.analysis.trials.power import POWER
from sweeps.analysis.trials.replicates import Cell
from sweeps.presentation.numbers import count
from sweeps.presentation.selection_card_numbers import (
    SelectionQuestion,
    interval_text,
    metric_text,
)
from sweeps.presentation.text_tables import FRACTIONS, WIDE


def runner_up_lines(
    question: SelectionQuestion, choice: Selection, chosen: Candidate
) -> tuple[str, ...]:
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
    return tuple(lines)


def _paired(
    question: SelectionQuestion, first: Candidate, second: Candidate, metric: str
) -> Comparison | None:
    """Return first - second, on held-out runs if the selection used only some of the runs."""
    only: Sequence[Cell] | None = None
    if question.chosen_on is not None:
        cells = [*first.replicates.cells, *second.replicates.cells]
        held_out = holdout(cells, question.chosen_on, fixed_orders=question.fixed_orders)
        only = held_out.cells or question.chosen_on
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
        f"{count(comparison.interval.n, 'run')}"
    )
    if comparison.unpaired:
        line += f" ({count(comparison.unpaired, 'run')} without a partner left out)"
    if comparison.interval.low is None:
        return [f"{line}: not significant, {comparison.interval.note}"]
    both = interval_text(metric, comparison.interval, sign)
    verdict = "significant" if comparison.significant else "not significant"
    lines = [f"{line}, 95 % {both}: {verdict}"]
    spread, smallest = comparison.spread, comparison.detectable_difference
    if comparison.significant or smallest is None:
        return lines
    runs = count(comparison.interval.n, "run")
    if spread is not None and comparison.interval.n == spread.orders * spread.seeds:
        runs = f"{count(spread.orders, 'order')} x {count(spread.seeds, 'seed')}"
    line = f"{runs} can detect a difference of {metric_text(metric, smallest)}"
    if metric in FRACTIONS and smallest > WIDE:
        line = f"{runs} are too few to detect any difference that is likely"
    if spread is not None:
        line += "; " + _replicates(smallest_design(spread, gain))
    lines.append(line)
    return lines


def _replicates(design: tuple[int, int] | None) -> str:
    if design is None:
        return f"this one may be too small for any design up to {MOST} x {MOST}"
    orders, seeds = design
    return (
        f"{count(orders, 'order')} x {count(seeds, 'seed')} would detect this one in {POWER:.0%} "
        "of cases, averaged over the sizes that these runs leave open"
    )


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
