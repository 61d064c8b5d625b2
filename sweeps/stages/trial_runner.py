"""TrialRunner: one trial, advanced stage by stage. The same steps with Ray and without it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from clmethods.config import StageSpec
from clmethods.provenance import Stopwatch
from sweeps.definition import TrialSpec
from sweeps.stages.chain_reader import WalkMemory
from sweeps.stages.leases import Lease, LeaseTable
from sweeps.stages.stage_rows import (
    bundle_of,
    evaluation_ids,
    has_all,
    is_complete,
    materialise_stage,
)
from sweeps.stages.stage_store import StageStore
from sweeps.storage import ObjectStore

if TYPE_CHECKING:
    from clmethods.evaluate import Evaluator
    from clmethods.methods import State
    from clmethods.readout.features import FeatureCache


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one call of `advance` did."""

    outcome: Literal["trained", "evaluated", "waiting", "done"]
    position: int
    """Stages of the chain that are complete now."""
    key: str = ""
    """The stage that was trained, evaluated, or is waited for."""
    seconds: float = 0.0


class DamagedAncestorError(RuntimeError):
    """A stage below the one to be trained turned out to be damaged; the chain starts lower."""


class UnreadableStageError(RuntimeError):
    """A stage that is gone or damaged as soon as it was written: the storage cannot be trusted."""


@final
class TrialRunner:
    """Walks a trial's chain: complete stages are passed over, the next one is computed.

    Everything is looked up in the store at every step, so a runner may be dropped and made anew at
    any time, on any node.
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
        """`stages`: how many of its stages are wanted; all unless it says.

        `features`: what is known of other trials' stages, and where this one adds its own.
        """
        self.sweep, self.trial = sweep, trial
        self.store = WalkMemory(store)
        """What the walk knows of its stages."""
        self.leases, self.owner = leases, owner
        self.chain = trial.chain
        self.end = len(self.chain) if stages is None else min(stages, len(self.chain))
        self.position = 0
        self._stages = store
        self._expects_more = False  # that the next stage is missing, as this walk made the last
        self._state: State = {}
        self._folded = 0
        self._evaluator: Evaluator | None = None
        self._features = features

    @property
    def objects(self) -> ObjectStore:
        """The storage of the stages."""
        return self._stages.objects

    def advance(self) -> StepReport:
        """Compute the next stage that is not complete; `waiting` if somebody else is at it."""
        while self.position < self.end:
            stage = self.chain[self.position]
            if not self._expects_more and is_complete(self._stages, self.trial, stage.key):
                self._pass_over(stage)
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

    def _pass_over(self, stage: StageSpec) -> None:
        """Go on behind a complete stage; one that turns out damaged is met again at once."""
        if self._stages.objects.exists(bundle_of(self.sweep, self.trial, stage.key)):
            whole = self.store.is_sound(stage.key, evaluation_ids(self.trial).values())
        else:
            whole = self._materialise(stage)
        if whole:
            self.position += 1
        else:
            self.store.forget()

    def _materialise(self, stage: StageSpec) -> bool:
        return materialise_stage(self._stages, self.sweep, self.trial, stage.key, self.store)

    def _compute(self, stage: StageSpec, lease: Lease) -> StepReport | None:
        """Train and evaluate `stage`; None if the chain must be looked at again."""
        import clmethods.evaluate  # noqa: F401  # loads torch: no cost of the first stage

        there = self._stages.contents(stage.key)
        if has_all(there, self.trial):  # somebody was quicker
            return None
        watch = Stopwatch()
        try:
            before = self._fold(stage.position)
            delta = self.store.load_delta(stage.key) if "stage.json" in there else None
            trained = delta is None
            if delta is None:
                delta = self._train(stage, before, lease, watch)
            if delta is None:  # taken over while we stood still; the other one commits
                return StepReport(outcome="waiting", position=self.position, key=stage.key)
            self._state, self._folded = before | delta, stage.position + 1
            self._evaluate(stage, there)
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
            outcome="trained" if trained else "evaluated",
            position=self.position,
            key=stage.key,
            seconds=cost if isinstance(cost, float) else 0.0,
        )

    def _train(
        self, stage: StageSpec, before: State, lease: Lease, watch: Stopwatch
    ) -> State | None:
        """What the stage changed, as it is stored; None if the lease is somebody else's."""
        from clmethods.training.stage import run_stage

        outcome = run_stage(self.trial.run, stage, before)
        if not lease.is_mine():
            return None
        committed = self._stages.save(stage, outcome, watch.cost() | {"sweep": self.sweep})
        if committed is not None:
            self.store.committed(stage.key, committed)
            return committed.delta
        delta = self.store.load_delta(stage.key)  # a twin was first: its bits are the stage
        if delta is None:
            raise UnreadableStageError(f"{self._stages.objects!r} lost stage {stage.key[:12]}")
        return delta

    def _evaluate(self, stage: StageSpec, there: Collection[str]) -> None:
        """Count by the readouts whose counts are missing. `there`: names in the stage's folder."""
        from clmethods.evaluate import Evaluator

        identities = evaluation_ids(self.trial)
        missing = [
            readout
            for readout in self.trial.readouts
            if f"evals/{identities[readout.readout_id]}.json" not in there
            or self.store.evaluation(stage.key, identities[readout.readout_id]) is None
        ]
        if not missing:
            return
        watch = Stopwatch()
        if self._evaluator is None:
            self._evaluator = Evaluator(
                self.trial.run, self.chain, self._state_after, features=self._features
            )
        counts = self._evaluator.counts(stage.position, self._state, missing)
        for readout in missing:
            identity = identities[readout.readout_id]
            rows = self._stages.save_evaluation(stage.key, identity, counts[readout.readout_id])
            if rows is not None:
                self.store.evaluated(stage.key, identity, rows)
        cost = watch.cost() | {"readouts": len(missing)}
        self._stages.save_evaluation_cost(stage.key, cost)

    def _state_after(self, position: int) -> State:
        """The state after an earlier stage, read anew: readouts seldom ask for one."""
        state: State = {}
        for stage in self.chain[: position + 1]:
            delta = self.store.load_delta(stage.key)
            if delta is None:
                raise DamagedAncestorError(stage.key)
            state |= delta
        return state

    def _fold(self, position: int) -> State:
        """The state before the stage at `position`, folded from the stored deltas."""
        if self._folded > position:
            self._state, self._folded = {}, 0
        for stage in self.chain[self._folded : position]:
            delta = self.store.load_delta(stage.key)
            if delta is None:
                raise DamagedAncestorError(stage.key)
            self._state = self._state | delta
            self._folded = stage.position + 1
        return self._state
