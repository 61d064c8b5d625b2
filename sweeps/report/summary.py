"""The first screen: choose this, because, unless; and two short answers."""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.analysis.front.front_rows import need_of
from sweeps.presentation.selection_card import card
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import count
from sweeps.report.orders import order_answer

MARGIN = 10
"""Width of the label in front of each line of `sweeps.presentation.selection_card`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled part of the card."""

    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A short answer to a question."""

    question: str
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What the first screen shows."""

    headline: str
    """What to choose, or why there is nothing to choose yet."""
    entries: tuple[Entry, ...]
    answers: tuple[Answer, ...]
    facts: tuple[tuple[str, str], ...]


def summary_of(evidence: Evidence) -> Summary:
    """The card of `sweeps select` without any limit, and what else a reader asks first."""
    test = {(one.config_id, one.readout_id): one for one in evidence.by_split["test"]}
    entries = card_entries(card(evidence.question, evidence.choice, test))
    headline, *rest = entries
    need = need_of(evidence.sweep, evidence.summaries, evidence.readout, evidence.metric)
    order = order_answer(evidence)
    answers = [
        Answer(
            "Do you need LoRA at all?",
            need.text.removeprefix("Do you need LoRA? ")
            if need
            else "Not known: the sweep has no finished pair of a trained method and one that "
            "trains nothing. Add nearest_class_mean to its baselines; it costs almost nothing.",
        ),
        Answer(
            "How much does the task order matter?",
            order or "Not known: that takes two task orders.",
        ),
    ]
    return Summary(" ".join(headline.lines), tuple(rest), tuple(answers), _facts(evidence))


def card_entries(text: str) -> tuple[Entry, ...]:
    """The lines of a card under their labels."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        label, rest = line[:MARGIN].strip(), line[MARGIN:].strip()
        if label or not found:
            found.append((label, [rest]))
        else:
            found[-1][1].append(rest)
    return tuple(Entry(label, tuple(lines)) for label, lines in found)


def _facts(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    sweep, stream = evidence.sweep, evidence.sweep.base.stream
    orders = sweep.orders_for(sweep.configurations[0].run)
    return (
        ("data", f"{stream.dataset}, {count(stream.tasks, 'task')}"),
        ("configurations", f"{len(sweep.configurations):,}"),
        ("orders x seeds", f"{len(orders)} x {len(sweep.seeds)}"),
        ("finished runs", f"{evidence.finished:,}"),
        ("backbone", sweep.base.backbone.name),
        ("readout", evidence.readout),
    )
