"""`run_sequence`: a complete run without Ray, stage by stage, with optional archives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np

from clmethods.config.keys import StageSpec, stage_chain
from clmethods.config.readout import ReadoutConfig
from clmethods.config.resolve import resolve
from clmethods.config.run import RunConfig
from clmethods.evaluate import EvalCount
from clmethods.methods import State
from clmethods.metrics import Counts, EvalRow, counts_from_rows
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.training.completion import ChainCompletion, Cost, OnEpoch
from clmethods.training.stage import StageOutcome


class StageArchive(Protocol):
    """Storage of finished stages, such as `clmethods.archive.ModelArchive`."""

    def load_delta(self, key: str) -> State | None:
        """Return the delta of a finished stage; None if it is not available."""

    def save(self, stage: StageSpec, outcome: StageOutcome, cost: Cost) -> object:
        """Store a finished stage; an existing stage is left unchanged."""


class CountArchive(Protocol):
    """Storage of evaluations of stages; `ModelArchive` implements it too."""

    def evaluation(self, key: str, eval_id: str) -> list[EvalRow] | None:
        """Return the rows of one readout of a stage; None if they are not available."""

    def save_evaluation(self, key: str, eval_id: str, counts: Iterable[EvalCount]) -> object:
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
    on_epoch: OnEpoch = lambda stage, done: None,
) -> list[SequenceStep]:
    """Train and evaluate every task in order; results in the archives are not computed again.

    `statistics` replace the training images of the tasks that they cover. Statistics of the other
    tasks that the readouts need are added to them.
    """
    run = resolve(run)
    chain = stage_chain(run)
    states: list[State] = []
    completion = ChainCompletion(
        run, chain, readouts, states.__getitem__, statistics, on_epoch=on_epoch
    )
    store = _Archives(archive, evaluations)
    steps: list[SequenceStep] = []
    for stage in chain:
        done = completion.complete(stage, states[-1] if states else {}, store)
        states.append(done.state)
        steps.append(_step(stage, not done.trained, done.counts, done.state))
        on_step(steps[-1])
    return steps


def evaluate_chain(
    run: RunConfig,
    chain: Sequence[StageSpec],
    states: Sequence[State],
    readouts: Sequence[ReadoutConfig],
) -> list[SequenceStep]:
    """Return the counts after every stage of a trained chain, computed from its folded states."""
    completion = ChainCompletion(run, chain, readouts, states.__getitem__)
    nothing = _Archives(None, None)
    return [
        _step(stage, True, completion.evaluate(stage, state, nothing), state)
        for stage, state in zip(chain, states, strict=True)
    ]


def _step(
    stage: StageSpec, reused: bool, counts: dict[str, list[EvalCount]], state: State
) -> SequenceStep:
    return SequenceStep(stage, reused, counts, sum(tensor.nbytes for tensor in state.values()))


@final
@dataclass(frozen=True, slots=True)
class _Archives:
    """Optional archives of stages and evaluations as a `ChainStore`."""

    stages: StageArchive | None
    evaluations: CountArchive | None

    def delta(self, stage: StageSpec) -> State | None:
        return None if self.stages is None else self.stages.load_delta(stage.key)

    def commit(self, stage: StageSpec, outcome: StageOutcome, cost: Cost) -> State:
        if self.stages is not None:
            self.stages.save(stage, outcome, cost)
        return outcome.delta

    def rows(self, stage: StageSpec, eval_id: str) -> list[EvalRow] | None:
        if self.evaluations is None:
            return None
        return self.evaluations.evaluation(stage.key, eval_id)

    def save_counts(
        self, stage: StageSpec, counts: Mapping[str, Sequence[EvalCount]], cost: Cost
    ) -> None:
        if self.evaluations is not None:
            for eval_id, found in counts.items():
                self.evaluations.save_evaluation(stage.key, eval_id, found)


def accuracy_matrix(
    run: RunConfig, steps: Sequence[SequenceStep], readout_id: str, split: str = "test"
) -> list[list[float]]:
    """Return a[t][j], the accuracy on the j-th learned task after task t; NaN if not yet seen."""
    matrix = sequence_counts(run, steps, readout_id, split).class_incremental
    return [[float(accuracy) for accuracy in row] for row in matrix]


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
    stages = [[count.row() for count in step.counts[readout_id]] for step in steps]
    return replace(
        counts_from_rows(stages, run.stream.order, split),
        memory=np.array([step.state_bytes for step in steps], dtype=np.float64),
        references=references or {},
    )
