"""`run_sequence`: a complete run without Ray, stage by stage, with optional archives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np

from clmethods.checkpoint import fold
from clmethods.config.extension import as_trained
from clmethods.config.keys import StageSpec, evaluation_id, partition_id, stage_chain
from clmethods.config.readout import ReadoutConfig
from clmethods.config.resolve import resolve
from clmethods.config.run import RunConfig
from clmethods.evaluate import EvalCount, Evaluator, StateSource
from clmethods.methods import State
from clmethods.metrics import Counts
from clmethods.provenance import Stopwatch
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.training.stage import StageOutcome, run_stage


class StageArchive(Protocol):
    """Storage of finished stages, such as `sweeps.stages.stage_store.StageStore`."""

    def load_delta(self, key: str) -> State | None:
        """Return the delta of a finished stage; None if it is not available."""

    def save(self, stage: StageSpec, outcome: StageOutcome, cost: dict[str, object]) -> None:
        """Store a finished stage; an existing stage is left unchanged."""


class CountArchive(Protocol):
    """Storage of evaluations of stages; `StageStore` implements it too."""

    def evaluation(self, key: str, eval_id: str) -> list[dict[str, Any]] | None:
        """Return the fields of every `EvalCount` of a readout; None if they are not available."""

    def save_evaluation(self, key: str, eval_id: str, counts: Iterable[EvalCount]) -> None:
        """Store the counts of one readout of a stage; existing counts are left unchanged."""


@final
@dataclass(frozen=True, slots=True)
class SequenceStep:
    """One finished stage of a sequence."""

    stage: StageSpec
    reused: bool
    counts: dict[str, list[EvalCount]]
    """By readout id."""
    state_bytes: int
    """Size of the folded state after this stage in bytes."""


def run_sequence(
    run: RunConfig,
    readouts: Sequence[ReadoutConfig] = (ReadoutConfig(),),
    archive: StageArchive | None = None,
    evaluations: CountArchive | None = None,
    on_step: Callable[[SequenceStep], None] = lambda step: None,
    statistics: ReadoutStatistics | None = None,
) -> list[SequenceStep]:
    """Train and evaluate every task in order; results in the archives are not computed again.

    `statistics` replace the training images of the tasks that they cover. Statistics of the other
    tasks that the readouts need are added to them.
    """
    run = resolve(run)
    chain = stage_chain(run)
    deltas: list[State] = []
    evaluated = _Evaluations(
        chain, readouts, evaluations, lambda position: fold(deltas[: position + 1]), statistics
    )
    steps: list[SequenceStep] = []
    for stage in chain:
        stage_run = as_trained(run, stage.position)
        delta = archive.load_delta(stage.key) if archive is not None else None
        reused = delta is not None
        if delta is None:
            watch = Stopwatch()
            outcome = run_stage(stage_run, stage, fold(deltas))
            delta = outcome.delta
            if archive is not None:
                archive.save(stage, outcome, watch.cost())
        deltas.append(delta)
        state = fold(deltas)
        counts = evaluated.counts(stage_run, stage, state)
        size = sum(tensor.nbytes for tensor in state.values())
        steps.append(SequenceStep(stage, reused, counts, size))
        on_step(steps[-1])
    return steps


def evaluate_chain(
    run: RunConfig,
    chain: Sequence[StageSpec],
    states: Sequence[State],
    readouts: Sequence[ReadoutConfig],
) -> list[SequenceStep]:
    """Return the counts after every stage of a trained chain, computed from its folded states."""
    evaluations = _Evaluations(chain, readouts, None, lambda position: states[position])
    return [
        SequenceStep(
            stage,
            True,
            evaluations.counts(as_trained(run, stage.position), stage, state),
            sum(tensor.nbytes for tensor in state.values()),
        )
        for stage, state in zip(chain, states, strict=True)
    ]


@final
class _Evaluations:
    """Counts of the stages of a chain, from an archive if it contains them."""

    def __init__(
        self,
        chain: Sequence[StageSpec],
        readouts: Sequence[ReadoutConfig],
        archive: CountArchive | None,
        states: StateSource,
        statistics: ReadoutStatistics | None = None,
    ) -> None:
        self.chain, self.readouts, self.archive = chain, readouts, archive
        self.states, self.statistics = states, statistics
        self._evaluator: Evaluator | None = None

    def counts(self, run: RunConfig, stage: StageSpec, state: State) -> dict[str, list[EvalCount]]:
        """Return counts by readout id, after `stage` of `run`, whose folded state is `state`."""
        partition = partition_id(run)
        counts: dict[str, list[EvalCount]] = {}
        missing: list[ReadoutConfig] = []
        for readout in self.readouts:
            rows = None
            if self.archive is not None:
                rows = self.archive.evaluation(stage.key, evaluation_id(readout, partition))
            if rows is None:
                missing.append(readout)
            else:
                counts[readout.readout_id] = [EvalCount(**row) for row in rows]
        if missing:
            if self._evaluator is None or self._evaluator.run != run:
                self._evaluator = Evaluator(
                    run, self.chain[: run.stages], self.states, self.statistics
                )
            computed = self._evaluator.counts(stage.position, state, missing)
            for readout in missing:
                if self.archive is not None:
                    identity = evaluation_id(readout, partition)
                    self.archive.save_evaluation(stage.key, identity, computed[readout.readout_id])
            counts |= computed
        return {readout.readout_id: counts[readout.readout_id] for readout in self.readouts}


def accuracy_matrix(
    run: RunConfig, steps: Sequence[SequenceStep], readout_id: str, split: str = "test"
) -> list[list[float]]:
    """Return a[t][j], the accuracy on the j-th learned task after task t; NaN if not yet seen."""
    rows: list[list[float]] = []
    for step in steps:
        counts = [c for c in step.counts[readout_id] if c.split == split]
        row: list[float] = []
        for task in run.stream.order:
            of_task = [c for c in counts if c.task == task]
            correct = [c.correct for c in of_task if c.correct is not None]
            known = len(correct) == len(of_task) and of_task
            row.append(sum(correct) / sum(c.n for c in of_task) if known else float("nan"))
        rows.append(row)
    return rows


def sequence_counts(
    run: RunConfig,
    steps: Sequence[SequenceStep],
    readout_id: str,
    split: str = "test",
    references: Mapping[str, Sequence[float]] | None = None,
) -> Counts:
    """Return the input of `clmethods.metrics.every_metric`: stages by tasks, in learning order.

    `references` are accuracies of other runs per task in the same order, by the names of
    `clmethods.metrics.REFERENCES`. A run with `epochs: 0` gives the accuracies of the untrained
    model, in the first row of its `task_incremental`.
    """
    order = run.stream.order
    table = np.zeros((4, len(steps), len(order)), dtype=np.int64)
    inferred = False
    for stage, step in enumerate(steps):
        for row in step.counts[readout_id]:
            if row.split == split:
                fields = [row.n, row.correct, row.correct_task_given, row.task_id_correct]
                table[:, stage, order.index(row.task)] += [count or 0 for count in fields]
                inferred = inferred or row.task_id_correct is not None
    return Counts(
        n=table[0],
        correct=table[1],
        correct_task_given=table[2],
        task_id_correct=table[3] if inferred else None,
        memory=np.array([step.state_bytes for step in steps], dtype=np.float64),
        references=references or {},
    )
