"""What the card says in numbers: values with their intervals, and what one new run will give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clmethods.metrics import Direction
from sweeps.analysis.runs.replicates import Cell, Replicates, sample
from sweeps.analysis.selection.selection import Basis, Candidate, Limit
from sweeps.presentation.text_tables import FRACTIONS, NOTHING
from sweeps.statistics.intervals import Interval, prediction_interval


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, as the card repeats it."""

    objectives: Mapping[str, Direction]
    limits: tuple[Limit, ...]
    prefer: str | None
    """The preferred metric; None asks for the knee."""
    basis: Basis
    fixed_orders: bool
    order: str | None
    """Order of the production run; None: the sweep's first."""
    chosen_on: tuple[Cell, ...] | None
    """Runs that were looked at to choose; None: all."""

    @property
    def leading(self) -> str:
        """The metric in which the runner-up is compared."""
        return self.prefer or next(iter(self.objectives))


def shown(metric: str, value: float | None) -> str:
    """A value for people: fractions in percent, counts whole."""
    if value is None:
        return NOTHING
    if metric in FRACTIONS:
        return f"{100 * value:.1f}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def prediction(
    candidate: Candidate,
    test: Mapping[tuple[str, str], Replicates],
    metric: str,
    order: str | None,
) -> Interval | None:
    """Prediction interval of the test metric of one new run; None without values."""
    one = on_test(candidate, test)
    found = sample(one, metric) if one is not None else None
    if found is None or len(found) == 0:
        return None
    return prediction_interval(found.values, found.orders, found.seeds, order)


def on_test(candidate: Candidate, test: Mapping[tuple[str, str], Replicates]) -> Replicates | None:
    """The candidate's replicates on test images."""
    return test.get((candidate.replicates.config_id, candidate.replicates.readout_id))


def expectations(
    question: Question, chosen: Candidate, test: Mapping[tuple[str, str], Replicates]
) -> list[str]:
    """What one new run will give."""
    lines = []
    for metric in question.objectives:
        found = prediction(chosen, test, metric, question.order)
        if found is None:
            continue
        if found.low is None:
            lines.append(f"expect    test {metric}: no prediction interval, {found.note}")
            continue
        lines.append(
            f"expect    test {metric} of one new run: {ends(metric, found)} (95 %, {found.note})"
        )
    return lines


def with_ends(metric: str, interval: Interval) -> str:
    """A mean with its interval."""
    if interval.low is None:
        return f"{shown(metric, interval.mean)} (no interval)"
    return f"{shown(metric, interval.mean)} ({ends(metric, interval)})"


def ends(metric: str, interval: Interval, sign: float = 1.0) -> str:
    """Both ends, turned around where low is better."""
    if interval.low is None or interval.high is None:
        return "no interval"
    both: Sequence[float] = sorted((sign * interval.low, sign * interval.high))
    return f"{shown(metric, both[0])} to {shown(metric, both[1])}"
