"""Summary of the report: selection card, two short answers, and facts about the sweep."""

from __future__ import annotations

from dataclasses import dataclass

from clmethods.config.task_contents import task_contents
from sweeps.analysis.front.front_rows import training_benefit
from sweeps.presentation.numbers import count
from sweeps.presentation.selection_card import CardEntry, card_entries
from sweeps.report.evidence import Evidence
from sweeps.report.orders import order_answer


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


def summary_of(evidence: Evidence) -> Summary:
    """Return the selection card without limits, the answers, and facts about the sweep."""
    test = {(runs.config_id, runs.readout_id): runs for runs in evidence.by_split["test"]}
    headline, *rest = card_entries(evidence.question, evidence.choice, test)
    benefit = training_benefit(
        evidence.sweep, evidence.summaries, evidence.readout, evidence.metric
    )
    order = order_answer(evidence)
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
    return Summary(" ".join(headline.lines), tuple(rest), tuple(answers), _facts(evidence))


def _facts(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    sweep, stream = evidence.sweep, evidence.sweep.base.stream
    orders = sweep.task_orders
    return (
        ("data", f"{stream.dataset}, {count(stream.tasks, 'task')}"),
        *([("classes by task", "; ".join(tasks))] if (tasks := task_contents(stream)) else []),
        ("configurations", f"{evidence.configurations:,}"),
        ("orders x seeds", f"{len(orders)} x {len(sweep.seeds)}"),
        ("finished runs", f"{evidence.finished:,}"),
        ("backbone", sweep.base.backbone.name),
        ("readout", evidence.readout),
    )
