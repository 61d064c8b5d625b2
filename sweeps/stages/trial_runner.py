"""Runner of one trial, which trains and evaluates stage by stage, with Ray or without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from clmethods.config import StageSpec
from clmethods.provenance import Stopwatch
from sweeps.definition import TrialSpec
from sweeps.errors import SweepsError
from sweeps.stages.chain_reader import ChainReader
from sweeps.stages.leases import Lease, LeaseTable
from sweeps.stages.stage_rows import (
    bundle_of,
    evaluation_ids,
    has_all,
    is_complete,
    materialize_stage,
)
from sweeps.stages.stage_store import StageStore
from sweeps.storage import ObjectStore

if TYPE_CHECKING:
    from clmethods.evaluate import EvalCount
    from clmethods.methods import State
    from clmethods.metrics import EvalRow
    from clmethods.readout.features import FeatureCache
    from clmethods.training.completion import ChainCompletion, Cost
    from clmethods.training.stage import StageOutcome


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """Result of one call of `TrialRunner.advance`."""

    outcome: Literal["trained", "evaluated", "waiting", "done"]
    position: int
    """Number of stages of the chain that are complete now."""
    key: str = ""
    """Key of the stage that was trained or evaluated, or that another process computes."""
    seconds: float = 0.0
    """Wall time of training and evaluation."""


class DamagedAncestorError(SweepsError, RuntimeError):
    """Raised if an earlier stage of the chain is damaged; it is computed again first."""


class UnreadableStageError(SweepsError, RuntimeError):
    """Raised if a stage is missing or damaged right after its commit by an unreliable storage."""


class LostLeaseError(SweepsError, RuntimeError):
    """Raised if another process took over the lease of a stage while it was trained."""


@final
@dataclass(frozen=True, slots=True)
class _LeasedStage:
    """Stage of a chain under a lease, as a `clmethods.training.completion.ChainStore`."""

    stages: StageStore
    reader: ChainReader
    lease: Lease
    names: Collection[str]
    """Names in the folder of the stage when its computation starts."""
    sweep: str

    def delta(self, stage: StageSpec) -> State | None:
        return self.reader.load_delta(stage.key) if "stage.json" in self.names else None

    def commit(self, stage: StageSpec, outcome: StageOutcome, cost: Cost) -> State:
        """Store a stage unless the lease was lost; return the delta of the first commit."""
        if not self.lease.is_mine():
            raise LostLeaseError(stage.key)
        committed = self.stages.save(stage, outcome, cost | {"sweep": self.sweep})
        if committed is not None:
            self.reader.committed(stage.key, committed)
            return committed.delta
        delta = self.reader.load_delta(stage.key)  # another process committed first: use its bits
        if delta is None:
            raise UnreadableStageError(f"{self.stages.objects!r} lost stage {stage.key[:12]}")
        return delta

    def rows(self, stage: StageSpec, eval_id: str) -> Sequence[EvalRow] | None:
        if f"evals/{eval_id}.json" not in self.names:
            return None
        return self.reader.evaluation(stage.key, eval_id)

    def save_counts(
        self, stage: StageSpec, counts: Mapping[str, Sequence[EvalCount]], cost: Cost
    ) -> None:
        for eval_id, found in counts.items():
            rows = self.stages.save_evaluation(stage.key, eval_id, found)
            if rows is not None:
                self.reader.evaluated(stage.key, eval_id, rows)
        self.stages.save_evaluation_cost(stage.key, cost)


@final
class TrialRunner:
    """Computes the stages of a trial in order and skips those that are complete.

    Every step looks up the state of the chain in the store, so a runner may be discarded and
    created again at any time, on any node.
    """

    def __init__(
        self,
        sweep: str,
        trial: TrialSpec,
        store: StageStore,
        leases: LeaseTable,
        owner: str,
        stages: int | None = None,
        features: FeatureCache | None = None,
    ) -> None:
        """`stages`: number of stages to compute; None for all.

        `features`: cache of backbone features, shared with other trials of the process.
        """
        self.sweep, self.trial = sweep, trial
        self.store = ChainReader(store)
        """Cached reader of the stages of the chain."""
        self.leases, self.owner = leases, owner
        self.chain = trial.chain
        self.end = len(self.chain) if stages is None else min(stages, len(self.chain))
        self.position = 0
        self._stages = store
        self._expects_more = False  # this runner computed the last stage: the next one is missing
        self._state: State = {}
        self._folded = 0
        self._completion: ChainCompletion | None = None
        self._features = features

    @property
    def objects(self) -> ObjectStore:
        """The storage of the stages."""
        return self._stages.objects

    def advance(self) -> StepReport:
        """Compute the next stage that is not complete.

        The outcome is `waiting` if another process holds the lease of that stage, and `done` if
        every stage is complete. Raises `UnreadableStageError` if the storage loses a stage.
        """
        while self.position < self.end:
            stage = self.chain[self.position]
            if not self._expects_more and is_complete(self._stages, self.trial, stage.key):
                self._skip(stage)
                continue
            lease = self.leases.acquire(stage.key, self.owner)
            if lease is None:
                self._expects_more = False
                return StepReport(outcome="waiting", position=self.position, key=stage.key)
            with lease:
                report = self._compute(stage, lease)
            self._expects_more = report is not None and report.outcome != "waiting"
            if report is not None:
                return report
        return StepReport(outcome="done", position=self.end)

    def _skip(self, stage: StageSpec) -> None:
        """Skip a complete stage; if it is damaged, keep the position and clear the cache."""
        if self._stages.objects.exists(bundle_of(self.sweep, self.trial, stage.key)):
            intact = self.store.is_intact(stage.key, evaluation_ids(self.trial).values())
        else:
            intact = self._materialise(stage)
        if intact:
            self.position += 1
        else:
            self.store.forget()

    def _materialise(self, stage: StageSpec) -> bool:
        return materialize_stage(self._stages, self.sweep, self.trial, stage.key, self.store)

    def _compute(self, stage: StageSpec, lease: Lease) -> StepReport | None:
        """Train and evaluate `stage`; return None if the chain must be checked again."""
        if self._completion is None:
            self._completion = self._new_completion()  # loads torch before the cost is measured
        names = self._stages.contents(stage.key)
        if has_all(names, self.trial):  # another process has completed it
            return None
        watch = Stopwatch()
        try:
            before = self._fold(stage.position)
            store = _LeasedStage(self._stages, self.store, lease, names, self.sweep)
            done = self._completion.complete(stage, before, store, watch)
            self._state, self._folded = done.state, stage.position + 1
        except LostLeaseError:  # another process took over the lease and will commit the stage
            return StepReport(outcome="waiting", position=self.position, key=stage.key)
        except DamagedAncestorError:
            self.store.forget()
            self.position = 0
            return None
        if not self._materialise(stage):
            self.store.forget()
            return None
        self.position += 1
        cost = watch.cost()["wall_s"]
        return StepReport(
            outcome="trained" if done.trained else "evaluated",
            position=self.position,
            key=stage.key,
            seconds=cost if isinstance(cost, float) else 0.0,
        )

    def _new_completion(self) -> ChainCompletion:
        from clmethods.training.completion import ChainCompletion

        return ChainCompletion(
            self.trial.run,
            self.chain,
            self.trial.readouts,
            self._state_after,
            features=self._features,
        )

    def _state_after(self, position: int) -> State:
        """Return the state after an earlier stage, read from the store; few readouts need it."""
        state: State = {}
        for stage in self.chain[: position + 1]:
            delta = self.store.load_delta(stage.key)
            if delta is None:
                raise DamagedAncestorError(stage.key)
            state |= delta
        return state

    def _fold(self, position: int) -> State:
        """Return the state before the stage at `position`, combined from the stored deltas."""
        if self._folded > position:
            self._state, self._folded = {}, 0
        for stage in self.chain[self._folded : position]:
            delta = self.store.load_delta(stage.key)
            if delta is None:
                raise DamagedAncestorError(stage.key)
            self._state = self._state | delta
            self._folded = stage.position + 1
        return self._state
