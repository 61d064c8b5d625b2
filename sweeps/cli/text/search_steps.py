"""Text output on the steps of a sequential sweep, whose trials depend on its results."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sweeps.cli.text.layout import count
from sweeps.search.controller import is_sequential
from sweeps.search.search_state import Step

if TYPE_CHECKING:
    from sweeps.definition import Sweep

SHOWN_DECISIONS = 8
"""Maximum number of decisions shown, the last ones."""

RULES = {
    "tpe": "a tree-structured Parzen estimator",
    "nsga2": "NSGA-II, a batch being a generation",
    "gp": "a Gaussian process",
}


def search_lines(sweep: Sweep, step: Step) -> list[str]:
    """Return the state of a sequential sweep; empty if all trials are known in advance."""
    if not is_sequential(sweep):
        return []
    stage = "finished" if step.finished else f"open: {step.title}"
    lines = [f"  step {step.number}, {stage}" + _waiting(step)]
    if sweep.algorithm.learns:
        lines += _model_lines(sweep, step)
    tasks, replicates = sweep.base.stream.tasks, sweep.replicate_count
    if sweep.early_stop is not None:
        lines.append(f"  early stop: {sweep.early_stop.in_words(tasks, sweep.objectives)}")
        lines += _verdicts(step, "early_stop")
    if sweep.racing is not None:
        lines.append(f"  racing: {sweep.racing.in_words(replicates)}")
        lines += _verdicts(step, "racing")
    return lines


def _waiting(step: Step) -> str:
    if step.finished:
        return ""
    return f", waits for {count(len(step.open), 'trial')}; the next step depends on their results"


def _model_lines(sweep: Sweep, step: Step) -> list[str]:
    """Return the search model, its progress, and the maximum number of further trials."""
    algorithm = sweep.algorithm
    trials = algorithm.trials or 0
    proposed = sum(len(batch.proposals) for batch in step.batches)
    new = sum(len(batch.new) for batch in step.batches)
    closed = len(step.batches) - (not step.finished and bool(step.batches))
    batches = -(-trials // algorithm.batch_size)
    states = len(sweep.candidates.states)
    runs = (trials - proposed) * states * sweep.replicate_count
    rejected = sum(batch.rejected for batch in step.batches)
    lines = [
        f"  search by {RULES[algorithm.kind]}: {closed} of {batches} batches complete, "
        f"{proposed} of {trials} proposals made, {proposed * states - new} of their settings "
        f"equal in effect to earlier ones, {rejected} draws rejected"
    ]
    if step.exhausted:
        lines.append(
            "  the search ended early, because the conditions reject too many proposals "
            "(algorithm.max_rejected)"
        )
    elif runs:
        stages = runs * max(run.stages for run in sweep.runs)
        lines.append(f"  at most {runs} more trials with {stages} stages will be proposed")
    return lines


def _verdicts(step: Step, by: str) -> list[str]:
    """Return the number of decisions by verdict, and the last decisions with their reasons."""
    decisions = [decision for decision in step.decisions if decision.by == by]
    if not decisions:
        return ["    no decision yet"]
    verdicts = Counter(decision.verdict for decision in decisions)
    lines = ["    " + ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())]
    lines += [f"    {d.label}: {d.because}" for d in decisions[-SHOWN_DECISIONS:]]
    return lines
