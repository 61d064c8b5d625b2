"""Hyperparameters of learning without forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clmethods.config.methods.fields import Effect, EffectContext, FullFields, HeadKind
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class LwfConfig(FullFields):
    """LwF (arXiv 1606.09282): all weights, with the old network's answers as soft labels."""

    kind: Literal["lwf"] = "lwf"
    head_loss: Literal["local", "global"] = "local"
    """Cross-entropy over the task's classes, or over all classes seen."""
    lwf_alpha: float = 1.0
    """Weight of the distillation."""
    lwf_temperature: float = 2.0
    """T_s, by which the logits of old classes are divided; the term is multiplied by T_s^2."""

    def __post_init__(self) -> None:
        alpha, temperature = self.lwf_alpha, self.lwf_temperature
        refuse(
            [
                *self.full_faults(),
                require(alpha >= 0, "lwf_alpha", alpha, "0 or more"),
                require(temperature > 0, "lwf_temperature", temperature, "greater than 0"),
            ]
        )

    @property
    def head(self) -> HeadKind:
        """The old network's answers are kept by moving the rows of old classes."""
        return "moving"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """At the first task there is no old network, and both losses are one."""
        acts: Effect = {"body_lr_scale": self.body_lr_scale}
        if position > 0:
            acts |= {"head_loss": self.head_loss, "lwf_alpha": self.lwf_alpha}
            if self.lwf_alpha > 0:
                acts["lwf_temperature"] = self.lwf_temperature
        return acts
