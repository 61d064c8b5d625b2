"""The JSON of `sweeps select --json`; `sweeps/README.md` documents its fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite

from sweeps.analysis.selection.holdout import holdout
from sweeps.analysis.selection.selection import Selection
from sweeps.analysis.selection.selection_candidates import (
    COSTS,
    Candidate,
    MetricEstimate,
    metric_estimate,
)
from sweeps.analysis.trials.paired_differences import compare
from sweeps.analysis.trials.replicates import Cell, Replicates
from sweeps.presentation.selection_card import TestRuns, card_entries
from sweeps.presentation.selection_card_numbers import (
    SelectionQuestion,
    predicted_interval,
    test_replicates,
)
from sweeps.statistics.configuration_means import LOWER_LEVEL
from sweeps.statistics.intervals import LEVEL, Interval

Json = dict[str, object]


def selection_json(
    sweep: str,
    question: SelectionQuestion,
    choice: Selection,
    test: TestRuns,
    tasks: Sequence[str],
) -> str:
    """Return the content of the selection card as a JSON document. Fractions are not percent."""
    chosen, second, best = choice.chosen, choice.runner_up, choice.unlimited
    document: Json = {
        "sweep": sweep,
        "question": _question(question),
        "level": LEVEL,
        "common_runs": choice.common_runs,
        "compared": len(choice.admissible) + len(choice.refused),
        "within": choice.within,
        "chosen": None if chosen is None else _chosen(question, chosen, test),
        "runner_up": None if second is None else _configuration(question, second, test),
        "differences": []
        if chosen is None or second is None
        else [_difference(question, chosen, second, metric) for metric in question.objectives],
        "without_limits": None if best is None else _identity(best),
        "admissible": [_configuration(question, each, test) for each in choice.admissible],
        "refused": [_configuration(question, each, test) for each in choice.refused],
        "excluded": [
            {**_identity(each.candidate), "reason": each.reason} for each in choice.incomplete
        ],
        "card": [asdict(entry) for entry in card_entries(question, choice, test)],
        "tasks": list(tasks),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _question(question: SelectionQuestion) -> Json:
    return {
        "objectives": dict(question.objectives),
        "prefer": question.prefer or "knee",
        "limits": [asdict(limit) for limit in question.limits],
        "by": question.basis,
        "bound_level": LOWER_LEVEL if question.basis == "bound" else None,
        "within": question.within,
        "split": "validation",
        "order": question.order,
        "choose_on": None if question.chosen_on is None else _cells(question.chosen_on),
    }


def _identity(candidate: Candidate) -> Json:
    replicates = candidate.replicates
    names = ("config_id", "label", "role", "method", "readout_id")
    return {name: getattr(replicates, name) for name in names}


def _configuration(question: SelectionQuestion, candidate: Candidate, test: TestRuns) -> Json:
    costs = zip(COSTS, candidate.costs, strict=True)
    return {
        **_identity(candidate),
        "violated": [asdict(limit) for limit in candidate.violated],
        "costs": {name: cost if isfinite(cost) else None for name, cost in costs},
        "validation": {
            metric: _estimate(estimate) for metric, estimate in candidate.estimates.items()
        },
        "test": _means(question, test_replicates(candidate, test), list(candidate.estimates)),
    }


def _chosen(question: SelectionQuestion, chosen: Candidate, test: TestRuns) -> Json:
    """Return the choice with its predictions and, if some runs decided, the held-out runs."""
    predictions = {
        metric: predicted_interval(chosen, test, metric, question.order)
        for metric in question.objectives
    }
    return {
        **_configuration(question, chosen, test),
        "prediction": {
            metric: _interval(interval)
            for metric, interval in predictions.items()
            if interval is not None
        },
        "held_out": _held_out(question, chosen, test),
    }


def _held_out(question: SelectionQuestion, chosen: Candidate, test: TestRuns) -> Json | None:
    if question.chosen_on is None:
        return None
    runs = holdout(chosen.replicates.cells, question.chosen_on, fixed_orders=question.fixed_orders)
    names = list(question.objectives)
    return {
        "runs": _cells(runs.cells),
        "shared": list(runs.shared),
        "left_out": runs.left_out,
        "validation": _means(question, chosen.replicates, names, runs.cells),
        "test": _means(question, test_replicates(chosen, test), names, runs.cells),
    }


def _means(
    question: SelectionQuestion,
    replicates: Replicates | None,
    metrics: Sequence[str],
    cells: Sequence[Cell] | None = None,
) -> Json:
    found: Json = {}
    for metric in metrics:
        if replicates is None or not replicates.metrics.get(metric):
            continue
        direction = question.objectives.get(metric, "max")  # has no effect on means
        estimate = metric_estimate(
            replicates, metric, direction, cells, fixed_orders=question.fixed_orders
        )
        if estimate is not None:
            found[metric] = _interval(estimate.interval)
    return found


def _estimate(estimate: MetricEstimate) -> Json:
    corrected = estimate.selected
    return {
        **_interval(estimate.interval),
        "worst_order": estimate.worst_order,
        "worst": estimate.worst,
        "bound": None if estimate.common is None else estimate.common.bound,
        "corrected_for_selection": None if corrected is None else asdict(corrected),
    }


def _interval(interval: Interval) -> Json:
    return {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "runs": interval.n,
        "design": interval.note,
    }


def _difference(
    question: SelectionQuestion, chosen: Candidate, second: Candidate, metric: str
) -> Json:
    """Return the paired difference between choice and runner-up, on the runs of the card."""
    only: Sequence[Cell] | None = None
    if question.chosen_on is not None:
        cells = [*chosen.replicates.cells, *second.replicates.cells]
        runs = holdout(cells, question.chosen_on, fixed_orders=question.fixed_orders)
        only = runs.cells or question.chosen_on
    found = compare(
        chosen.replicates,
        second.replicates,
        metric,
        fixed_orders=question.fixed_orders,
        only=only,
    )
    if found is None:
        return {"metric": metric, "reason": "no common order and seed"}
    return {
        "metric": metric,
        **_interval(found.interval),
        "unpaired": found.unpaired,
        "p_value": found.p_value,
        "significant": None if found.interval.low is None else found.significant,
        "detectable": found.detectable_difference,
    }


def _cells(cells: Sequence[Cell]) -> list[Json]:
    """Return runs as order and seed; splits and class orders are part of the seed."""
    return [
        {"order": order, "seed": list(seed) if isinstance(seed, tuple) else seed}
        for order, seed in cells
    ]
