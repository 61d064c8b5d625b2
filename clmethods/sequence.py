"""run_sequence: a trial without Ray, as the fold of run_stage over its chain of stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

from clmethods.checkpoint import fold
from clmethods.config.keys import StageSpec, stage_chain
from clmethods.config.readout import ReadoutConfig
from clmethods.config.resolve import resolve
from clmethods.config.run import RunConfig
from clmethods.evaluate import EvalCount, Evaluator
from clmethods.methods import State
from clmethods.stage import StageOutcome, run_stage


class StageArchive(Protocol):
    """Where finished stages are kept; `sweeps.stages.store.StageStore` is one."""

    def load_delta(self, key: str) -> State | None:
        """The delta of a finished stage, or None if it is not (or no longer) there."""

    def save(self, stage: StageSpec, outcome: StageOutcome, cost: dict[str, object]) -> None:
        """Keep a finished stage; a stage that is there already is left as it is."""


@final
@dataclass(frozen=True, slots=True)
class SequenceStep:
    """One finished stage of a sequence."""

    stage: StageSpec
    reused: bool
    counts: dict[str, list[EvalCount]]
    """By readout id."""


def run_sequence(
    run: RunConfig,
    readouts: Sequence[ReadoutConfig] = (ReadoutConfig(),),
    archive: StageArchive | None = None,
) -> list[SequenceStep]:
    """Train and evaluate every task in order; stages found in `archive` are not trained again."""
    run = resolve(run)
    chain = stage_chain(run)
    deltas: list[State] = []
    evaluator = Evaluator(run, chain, lambda position: fold(deltas[: position + 1]))
    steps: list[SequenceStep] = []
    for stage in chain:
        delta = archive.load_delta(stage.key) if archive is not None else None
        reused = delta is not None
        if delta is None:
            outcome = run_stage(run, stage, fold(deltas))
            delta = outcome.delta
            if archive is not None:
                archive.save(stage, outcome, {})
        deltas.append(delta)
        counts = evaluator.counts(stage.position, fold(deltas), readouts)
        steps.append(SequenceStep(stage, reused, counts))
    return steps


def accuracy_matrix(
    run: RunConfig, steps: Sequence[SequenceStep], readout_id: str, split: str = "test"
) -> list[list[float]]:
    """a[t][j]: accuracy on the j-th task learned after task t; NaN where it was not yet seen."""
    rows: list[list[float]] = []
    for step in steps:
        counts = [c for c in step.counts[readout_id] if c.split == split]
        row: list[float] = []
        for task in run.stream.order:
            mine = [c for c in counts if c.task == task]
            correct = [c.correct for c in mine if c.correct is not None]
            known = len(correct) == len(mine) and mine
            row.append(sum(correct) / sum(c.n for c in mine) if known else float("nan"))
        rows.append(row)
    return rows
