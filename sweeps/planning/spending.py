"""Spending of a sweep compared with its budget, from the records of the stages that it trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from sweeps.definition.budget import Budget
from sweeps.planning.plan import Plan
from sweeps.stages.stage_store import StageStore


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Spent stages, seconds and finished trials; `used` converts them to the units of a budget."""

    stages: int = 0
    stage_s: float = 0.0
    """Total wall seconds of training and evaluating all stages."""
    trials: int = 0
    gpus: float = 0.0
    """GPUs that each trial reserves."""

    def used(self) -> dict[str, float]:
        """Return the spent amounts by the names of `Budget`."""
        hours = self.stage_s / 3600
        return {
            "gpu_hours": hours * self.gpus,
            "hours": hours,
            "stages": self.stages,
            "trials": self.trials,
        }

    def with_stage(self, seconds: float) -> Spending:
        """Return the spending after one more stage."""
        return replace(self, stages=self.stages + 1, stage_s=self.stage_s + seconds)

    def with_trial(self) -> Spending:
        """Return the spending after one more finished trial."""
        return replace(self, trials=self.trials + 1)

    def reached(self, budget: Budget) -> str | None:
        """Return the limit that is reached, in words; None if no limit is reached."""
        used = self.used()
        for name, most in budget.limits().items():
            if used[name] >= most:
                return f"{name}: {used[name]:.3g} of {most:g} are used"
        return None


def spent(plan: Plan, store: StageStore) -> Spending:
    """Return the spending of a plan's sweep; stages that other sweeps trained cost nothing."""
    stages, seconds = 0, 0.0
    if plan.sweep.budget.limits():
        for key in sorted(plan.stored):
            cost = store.cost(key)
            if cost.get("sweep") == plan.sweep.name:
                stages, seconds = stages + 1, seconds + store.stage_seconds(key, "wall_s")
    return Spending(
        stages=stages,
        stage_s=seconds,
        trials=sum(plan.is_recorded(trial) for trial in plan.trials),
        gpus=plan.sweep.resources.gpus or 0.0,
    )
