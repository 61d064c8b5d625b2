"""`ChainCompletion`: trains and evaluates the stages of a chain whose results are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

from clmethods.config.extension import as_trained
from clmethods.config.keys import StageSpec, evaluation_id, partition_id
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.evaluate import EvalCount, Evaluator, StateSource
from clmethods.methods import State
from clmethods.metrics import EvalRow
from clmethods.provenance import Stopwatch
from clmethods.readout.features import FeatureCache
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.training.stage import StageOutcome, run_stage

Cost = dict[str, object]
"""Seconds, memory and provenance of a computation, from `Stopwatch.cost`."""


class ChainStore(Protocol):
    """Stored results of the stages of one chain."""

    def delta(self, stage: StageSpec) -> State | None:
        """Return the stored delta of a stage; None if it has to be trained."""

    def commit(self, stage: StageSpec, outcome: StageOutcome, cost: Cost) -> State:
        """Store a trained stage; return the delta that is stored then.

        Another process may have stored the stage first. Raises an exception of its own if the
        stage must be abandoned; nothing is evaluated then.
        """

    def rows(self, stage: StageSpec, eval_id: str) -> Sequence[EvalRow] | None:
        """Return the stored rows of one readout of a stage; None if it has to be evaluated."""

    def save_counts(
        self, stage: StageSpec, counts: Mapping[str, Sequence[EvalCount]], cost: Cost
    ) -> None:
        """Store the counts of the readouts that were missing, by evaluation id."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class CompleteStage:
    """Stage that is trained and evaluated."""

    state: State
    """Folded state after the stage."""
    trained: bool
    """True if it was trained now, False if its delta was stored."""
    counts: dict[str, list[EvalCount]]
    """Counts by readout id."""


OnEpoch = Callable[[StageSpec, int], None]
"""Called after every epoch of a stage with the number of finished epochs."""


@final
class ChainCompletion:
    """Computes what the store of a chain lacks; the stages are completed in any order."""

    def __init__(
        self,
        run: RunConfig,
        chain: Sequence[StageSpec],
        readouts: Sequence[ReadoutConfig],
        states: StateSource,
        statistics: ReadoutStatistics | None = None,
        features: FeatureCache | None = None,
        on_epoch: OnEpoch = lambda stage, done: None,
    ) -> None:
        """`states`, `statistics` and `features` are the sources of an `Evaluator`."""
        self._on_epoch = on_epoch
        self._run, self._chain, self._readouts = run, tuple(chain), tuple(readouts)
        self._states, self._statistics, self._features = states, statistics, features
        self._evaluator: tuple[RunConfig, Evaluator] | None = None

    def complete(
        self, stage: StageSpec, before: State, store: ChainStore, watch: Stopwatch | None = None
    ) -> CompleteStage:
        """Train `stage` on the state `before` and evaluate it, unless the store has the results.

        `watch` measures the training; by default it starts when the training starts.
        """
        run = as_trained(self._run, stage.position)
        delta = store.delta(stage)
        trained = delta is None
        if delta is None:
            watch = watch or Stopwatch()
            delta = store.commit(
                stage,
                run_stage(run, stage, before, lambda done: self._on_epoch(stage, done)),
                watch.cost(),
            )
        state = before | delta
        return CompleteStage(state, trained, self.evaluate(stage, state, store))

    def evaluate(
        self, stage: StageSpec, state: State, store: ChainStore
    ) -> dict[str, list[EvalCount]]:
        """Return the counts of a stage by readout id; `state` is the state after it."""
        run = as_trained(self._run, stage.position)
        partition = partition_id(run)
        identities = {r.readout_id: evaluation_id(r, partition) for r in self._readouts}
        stored = {name: store.rows(stage, identity) for name, identity in identities.items()}
        counts = {
            name: [EvalCount(**row) for row in rows]
            for name, rows in stored.items()
            if rows is not None
        }
        missing = [readout for readout in self._readouts if readout.readout_id not in counts]
        if missing:
            watch = Stopwatch()
            computed = self._evaluator_of(run).counts(stage.position, state, missing)
            by_identity = {identities[name]: found for name, found in computed.items()}
            store.save_counts(stage, by_identity, watch.cost() | {"readouts": len(missing)})
            counts |= computed
        return {readout.readout_id: counts[readout.readout_id] for readout in self._readouts}

    def _evaluator_of(self, run: RunConfig) -> Evaluator:
        """Return the evaluator of the chain that `run` trained, which may lack added tasks."""
        if self._evaluator is None or self._evaluator[0] != run:
            chain = self._chain[: run.stages]
            evaluator = Evaluator(run, chain, self._states, self._statistics, self._features)
            self._evaluator = run, evaluator
        return self._evaluator[1]
