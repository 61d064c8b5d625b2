"""What a sweep has spent, by the records of the stages that it trained, against its budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from sweeps.definition.budget import Budget
from sweeps.planning.plan import Plan
from sweeps.stages.stage_store import StageStore


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Stages, seconds and finished trials; in the units of a budget by `used`."""

    stages: int = 0
    stage_s: float = 0.0
    """Wall seconds of training and evaluating, added up over the stages."""
    trials: int = 0
    gpus: float = 0.0
    """That each trial reserves."""

    def used(self) -> dict[str, float]:
        """By the names of `Budget`."""
        hours = self.stage_s / 3600
        return {
            "gpu_hours": hours * self.gpus,
            "hours": hours,
            "stages": self.stages,
            "trials": self.trials,
        }

    def with_stage(self, seconds: float) -> Spending:
        """After one more stage."""
        return replace(self, stages=self.stages + 1, stage_s=self.stage_s + seconds)

    def with_trial(self) -> Spending:
        """After one more finished trial."""
        return replace(self, trials=self.trials + 1)

    def reached(self, budget: Budget) -> str | None:
        """The limit that is reached, in words; None while there is something left."""
        used = self.used()
        for name, most in budget.limits().items():
            if used[name] >= most:
                return f"{name}: {used[name]:.3g} of {most:g} are used"
        return None


def spent(plan: Plan, store: StageStore) -> Spending:
    """What the sweep of a plan has spent so far: stages that other sweeps trained cost nothing."""
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
