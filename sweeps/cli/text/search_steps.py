"""What a plan says of a sweep whose trials depend on its results: what is known, and the rule."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sweeps.search.controller import is_sequential
from sweeps.search.step import Step

if TYPE_CHECKING:
    from sweeps.definition import Sweep

SHOWN_DECISIONS = 8
"""How many decisions are named one by one."""

RULES = {
    "tpe": "a tree-structured Parzen estimator",
    "nsga2": "NSGA-II, a batch being a generation",
    "gp": "a Gaussian process",
}


def search_lines(sweep: Sweep, step: Step) -> list[str]:
    """The state of a sequential sweep in a few lines; none for a sweep that is known whole."""
    if not is_sequential(sweep):
        return []
    stage = "finished" if step.finished else f"open: {step.title}"
    lines = [f"  step {step.number}, {stage}" + _waiting(step)]
    if sweep.algorithm.learns:
        lines += _model_lines(sweep, step)
    tasks, replicates = sweep.base.stream.tasks, _replicates(sweep)
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
    return f", which waits for {_count(len(step.open), 'trial')}; what comes then depends on them"


def _model_lines(sweep: Sweep, step: Step) -> list[str]:
    """The model, how far it is, and how much it may still ask for."""
    algorithm = sweep.algorithm
    trials = algorithm.trials or 0
    asked = sum(len(batch.proposals) for batch in step.batches)
    new = sum(len(batch.new) for batch in step.batches)
    closed = len(step.batches) - (not step.finished and bool(step.batches))
    batches = -(-trials // algorithm.batch_size)
    states = len(sweep.candidates.states)
    runs = (trials - asked) * states * _replicates(sweep)
    rejected = sum(batch.rejected for batch in step.batches)
    lines = [
        f"  search by {RULES[algorithm.kind]}: {closed} of {batches} batches are told, "
        f"{asked} of {trials} proposals made, {asked * states - new} of their settings equal in "
        f"effect to earlier ones, {rejected} draws rejected"
    ]
    if step.exhausted:
        lines.append(
            "  it ended early: the conditions reject too many proposals (algorithm.max_rejected)"
        )
    elif runs:
        stages = runs * sweep.base.stages
        lines.append(f"  at most {runs} more trials of {stages} stages are still to be proposed")
    return lines


def _verdicts(step: Step, by: str) -> list[str]:
    """How often each thing was decided, and the last decisions with their reasons."""
    found = [decision for decision in step.decisions if decision.by == by]
    if not found:
        return ["    nothing is decided yet"]
    counts = Counter(decision.verdict for decision in found)
    lines = ["    " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())]
    lines += [f"    {d.label}: {d.because}" for d in found[-SHOWN_DECISIONS:]]
    return lines


def _replicates(sweep: Sweep) -> int:
    return len(sweep.orders_for(sweep.base)) * len(sweep.seeds)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
