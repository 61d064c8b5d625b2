"""What early stopping has cost, measured on the stopped configurations that ran on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sweeps.search.controller import Step
from sweeps.spec.sweep import Sweep


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingRegret:
    """The best of the audited configurations against the best of those that went on."""

    metric: str
    """The first objective; means over the runs of a configuration, on validation."""
    stopped: int
    """Configurations that the rule stopped, audited ones included."""
    audited: int
    """Those of them that ran on, drawn at random."""
    better: int
    """Those of the audited that ended better than every one that went on."""
    regret: float
    """By how much the best audited one is better than the best that went on; 0 if it is not."""
    best_audited: str
    """Its label."""

    def in_words(self) -> str:
        """A sentence for a plan or a report."""
        told = (
            f"the audit: {self.audited} of {self.stopped} stopped configurations ran on, "
            f"{self.better} of them ended above all that went on in {self.metric}"
        )
        if not self.better:
            return f"{told}: no cost of stopping is seen"
        return f"{told}: stopping has cost {self.regret:.4g} ({self.best_audited})"


def stopping_regret(sweep: Sweep, step: Step) -> StoppingRegret | None:
    """The regret of early stopping so far; None as long as there is nothing to compare.

    An unbiased look needs the audit: what was stopped and did not run on has no end to compare.
    """
    metric, direction = next(iter(sweep.objectives.items()))
    sign = 1.0 if direction == "max" else -1.0
    last = {d.config_id: d for d in step.decisions if d.by == "early_stop"}
    ended: dict[str, list[tuple[float, str]]] = {"goes on": [], "audit": []}
    for config_id, decision in last.items():
        outcome = step.outcomes.get(config_id)
        if decision.verdict in ended and outcome is not None and outcome.values is not None:
            ended[decision.verdict].append((sign * outcome.values[0], decision.label))
    if not ended["goes on"] or not ended["audit"]:
        return None
    best, _ = max(ended["goes on"])
    most, label = max(ended["audit"])
    return StoppingRegret(
        metric=metric,
        stopped=sum(d.verdict in {"audit", "stops"} for d in last.values()),
        audited=len(ended["audit"]),
        better=sum(value > best for value, _ in ended["audit"]),
        regret=max(0.0, most - best),
        best_audited=label,
    )
