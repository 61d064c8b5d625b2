"""Numbers of the selection card: values with intervals, and predictions for one new run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clmethods.metrics import ACCURACIES, Direction
from sweeps.analysis.selection.common_runs import SelectedEstimate
from sweeps.analysis.selection.selection_candidates import Candidate, DecisionBasis, MetricLimit
from sweeps.analysis.trials.replicates import Cell, Replicates, sample
from sweeps.presentation.text_tables import FRACTIONS, TOO_FEW, WIDE
from sweeps.presentation.text_tables import metric_text as metric_text
from sweeps.statistics.intervals import Interval
from sweeps.statistics.prediction_intervals import prediction_interval


@dataclass(frozen=True, slots=True)
class SelectionQuestion:
    """Criteria of a selection, as the card states them."""

    objectives: Mapping[str, Direction]
    limits: tuple[MetricLimit, ...]
    prefer: str | None
    """Preferred metric; None selects the knee."""
    basis: DecisionBasis
    fixed_orders: bool
    order: str | None
    """Order of the production run; None for the first order of the sweep."""
    chosen_on: tuple[Cell, ...] | None
    """Runs that the selection uses, as (order, seed); None for all."""
    within: float | None = None
    """Indifference margin in the preferred metric; None for no margin."""

    @property
    def leading(self) -> str:
        """Return the metric in which choice and runner-up are compared."""
        return self.prefer or next(iter(self.objectives))


def predicted_interval(
    candidate: Candidate,
    test: Mapping[tuple[str, str], Replicates],
    metric: str,
    order: str | None,
) -> Interval | None:
    """Return the prediction interval of the test metric of one new run; None without values."""
    replicates = test_replicates(candidate, test)
    values = sample(replicates, metric) if replicates is not None else None
    if values is None or len(values) == 0:
        return None
    return prediction_interval(
        values.values, values.orders, values.seeds, order, fractions=metric in ACCURACIES
    )


def test_replicates(
    candidate: Candidate, test: Mapping[tuple[str, str], Replicates]
) -> Replicates | None:
    """Return the replicates of the candidate on test images; None if there are none."""
    return test.get((candidate.replicates.config_id, candidate.replicates.readout_id))


def expectations(
    question: SelectionQuestion, chosen: Candidate, test: Mapping[tuple[str, str], Replicates]
) -> list[str]:
    """Return one line per objective with the prediction interval of one new run."""
    lines = []
    for metric in question.objectives:
        interval = predicted_interval(chosen, test, metric, question.order)
        if interval is None:
            continue
        if interval.low is None:
            lines.append(f"test {metric}: no prediction interval, {interval.note}")
            continue
        lines.append(
            f"test {metric} of one new run: {interval_text(metric, interval)} "
            f"(95 %, {interval.note})"
        )
    return lines


def mean_with_interval(metric: str, interval: Interval) -> str:
    """Return a mean with its interval, such as `62.4 (60.1 to 64.5)`."""
    if interval.low is None or interval.high is None:
        return f"{metric_text(metric, interval.mean)} (no interval)"
    return _with_ends(metric, interval.mean, interval.low, interval.high)


def selected_text(metric: str, estimate: SelectedEstimate) -> str:
    """Return a shrunken estimate with its interval, in the form of `mean_with_interval`."""
    return _with_ends(metric, estimate.mean, estimate.low, estimate.high)


def interval_text(metric: str, interval: Interval, sign: float = 1.0) -> str:
    """Return both ends of an interval, multiplied by `sign` and in ascending order.

    The result is one number if the ends are equal in all digits that are shown, and `TOO_FEW` if
    the interval says nothing.
    """
    if interval.low is None or interval.high is None:
        return "no interval"
    if metric in FRACTIONS and interval.high - interval.low > WIDE:
        return TOO_FEW
    low, high = sorted((sign * interval.low, sign * interval.high))
    first, last = metric_text(metric, low), metric_text(metric, high)
    return first if first == last else f"{first} to {last}"


def _with_ends(metric: str, mean: float, low: float, high: float) -> str:
    center, first, last = (metric_text(metric, value) for value in (mean, low, high))
    if metric in FRACTIONS and high - low > WIDE:
        return f"{center} ({TOO_FEW})"
    if first == last == center:
        return f"{center} (± {metric_text(metric, 0.0)})"
    return f"{center} ({first} to {last})"
