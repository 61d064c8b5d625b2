"""Hyperparameters of elastic weight consolidation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, HeadKind, LoraFields
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class EwcConfig(LoraFields):
    """Online EWC (arXiv 1612.00796, 1805.06370): weights that mattered are held by springs.

    Sweep ewc_lambda over 1..1e6: its scale is that of the Fisher information (docs/method.md 9.7).
    """

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["ewc"] = "ewc"
    scope: Literal["full", "lora"] = "full"
    """What is trained and held: all weights, or one LoRA module per matrix (`lora_ewc`)."""
    body_lr_scale: float = 0.1
    """Learning rate of the backbone's weights over that of the head, in the scope `full`."""
    ewc_lambda: float = 100.0
    """Weight of the quadratic penalty."""
    ewc_gamma: float = 1.0
    """Decay of the Fisher information of earlier tasks."""
    fisher_label: Literal["true", "sampled"] = "true"
    """Labels of the Fisher information: those of the images, or drawn from the prediction."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.lora_faults(),
                require(self.body_lr_scale >= 0, "body_lr_scale", self.body_lr_scale, "0 or more"),
                require(self.ewc_lambda >= 0, "ewc_lambda", self.ewc_lambda, "0 or more"),
                require(0.0 <= self.ewc_gamma <= 1.0, "ewc_gamma", self.ewc_gamma, "from 0 to 1"),
            ]
        )

    @property
    def head(self) -> HeadKind:
        """Local cross-entropy: rows of other tasks are not even parameters."""
        return "settled"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """A task saves its Fisher information, the next one is held by it.

        It is saved whatever its weight, so that all weights share the first stage; a run of
        weight 0, which has no use for it, keeps the default one.
        """
        acts: Effect = {"scope": self.scope}
        if self.scope == "lora":
            acts |= self.lora_effect(context)
            if self.matrices(context.blocks) == 0:  # nothing to hold
                return acts
        else:
            acts["body_lr_scale"] = self.body_lr_scale
        acts["fisher_label"], gamma = self.fisher()
        if position > 0:
            acts |= {"ewc_lambda": self.ewc_lambda, "ewc_gamma": gamma}
        return acts

    def fisher(self) -> tuple[Literal["true", "sampled"], float]:
        """(label, gamma) of the stored Fisher information."""
        return (self.fisher_label, self.ewc_gamma) if self.ewc_lambda > 0 else ("true", 1.0)
