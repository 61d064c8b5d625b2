"""Hyperparameters of learning without forgetting (LwF)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clmethods.config.methods.fields import Effect, EffectContext, FullFields, HeadKind
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class LwfConfig(FullFields):
    """LwF (arXiv 1606.09282): training of all weights with distillation from the old network."""

    kind: Literal["lwf"] = "lwf"
    head_loss: Literal["local", "global"] = "local"
    """Cross-entropy over the classes of the task (`local`) or over all classes seen (`global`)."""
    lwf_alpha: float = 1.0
    """Weight of the distillation loss."""
    lwf_temperature: float = 2.0
    """Temperature T_s. The logits of old classes are divided by T_s, and the loss is multiplied by
    T_s^2."""

    def __post_init__(self) -> None:
        alpha, temperature = self.lwf_alpha, self.lwf_temperature
        refuse(
            [
                *self.full_issues(),
                require(alpha >= 0, "lwf_alpha", alpha, "0 or more"),
                require(temperature > 0, "lwf_temperature", temperature, "greater than 0"),
            ]
        )

    @property
    def head(self) -> HeadKind:
        """`moving`: distillation changes the rows of old classes."""
        return "moving"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act.

        The first task has no old network, and both settings of `head_loss` give the same loss.
        """
        acts: Effect = {"body_lr_scale": self.body_lr_scale}
        if position > 0:
            acts |= {"head_loss": self.head_loss, "lwf_alpha": self.lwf_alpha}
            if self.lwf_alpha > 0:
                acts["lwf_temperature"] = self.lwf_temperature
        return acts
