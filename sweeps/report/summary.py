"""Summary of the report: selection card, two short answers, and facts about the sweep."""

from __future__ import annotations

from dataclasses import dataclass

from clmethods.config.task_contents import task_contents
from sweeps.analysis.front.pareto_table import training_benefit
from sweeps.definition import Sweep
from sweeps.presentation.numbers import count
from sweeps.presentation.selection_card import CardEntry
from sweeps.report.orders import order_answer
from sweeps.report.report_inputs import ReportInputs


@dataclass(frozen=True, slots=True)
class Answer:
    """Short answer to a question."""

    question: str
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Contents of the first screen of the report."""

    headline: str
    """Chosen configuration, or the reason why there is no choice yet."""
    entries: tuple[CardEntry, ...]
    answers: tuple[Answer, ...]
    facts: tuple[tuple[str, str], ...]


def summary_of(inputs: ReportInputs) -> Summary:
    """Return the selection card without limits, the answers, and facts about the sweep."""
    headline, *rest = inputs.selection.entries
    benefit = training_benefit(inputs.sweep, inputs.summaries, inputs.readout, inputs.metric)
    order = order_answer(inputs)
    answers = [
        Answer(
            "Do you need LoRA at all?",
            benefit.answer
            if benefit
            else "Not known: no method with training and method without training have finished "
            "with the same order and seed. Add nearest_class_mean to the baselines; it is cheap.",
        ),
        Answer(
            "How much does the task order matter?",
            order or "Not known: this needs at least two task orders.",
        ),
    ]
    return Summary(" ".join(headline.lines), tuple(rest), tuple(answers), _facts(inputs))


def _facts(inputs: ReportInputs) -> tuple[tuple[str, str], ...]:
    sweep, stream = inputs.sweep, inputs.sweep.base.stream
    orders = sweep.task_orders
    return (
        ("data", f"{stream.dataset}, {count(stream.tasks, 'task')}"),
        *([("classes by task", "; ".join(tasks))] if (tasks := task_contents(stream)) else []),
        ("configurations", f"{inputs.configurations:,}"),
        ("orders x seeds", f"{len(orders)} x {len(sweep.seeds)}{_pairs(sweep)}"),
        ("finished runs", f"{inputs.finished:,}"),
        ("backbone", sweep.base.backbone.name),
        ("readout", inputs.readout),
    )


def _pairs(sweep: Sweep) -> str:
    """Return the number of pairs that are run, if they are not all."""
    if sweep.replicates.kind == "grid":
        return ""
    return f", {sweep.replicate_count} of the pairs"
