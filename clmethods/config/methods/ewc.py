"""Hyperparameters of elastic weight consolidation (EWC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, HeadKind, LoraFields
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes, head, network
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class EwcConfig(LoraFields):
    """Online EWC (arXiv 1612.00796, 1805.06370): penalty on changes of important weights.

    Sweep ewc_lambda over 1..1e6, because its scale depends on the scale of the Fisher information
    (docs/method.md section 9.7).
    """

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["ewc"] = "ewc"
    scope: Literal["full", "lora"] = "full"
    """Weights that are trained and penalized: all weights, or one LoRA module per matrix
    (`lora_ewc`)."""
    body_lr_scale: float = 0.1
    """Ratio of the backbone's learning rate to that of the head, in the scope `full`."""
    ewc_lambda: float = 100.0
    """Weight of the quadratic penalty."""
    ewc_gamma: float = 1.0
    """Decay factor of the Fisher information of earlier tasks."""
    fisher_label: Literal["true", "sampled"] = "true"
    """Labels for the Fisher information: true labels, or labels sampled from the prediction."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.lora_issues(),
                require(self.body_lr_scale >= 0, "body_lr_scale", self.body_lr_scale, "0 or more"),
                require(self.ewc_lambda >= 0, "ewc_lambda", self.ewc_lambda, "0 or more"),
                require(0.0 <= self.ewc_gamma <= 1.0, "ewc_gamma", self.ewc_gamma, "from 0 to 1"),
            ]
        )

    @property
    def head(self) -> HeadKind:
        """`settled`: with local cross-entropy, rows of other tasks are not parameters."""
        return "settled"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act: a task stores Fisher information, the next task uses it.

        The Fisher information is stored for every `ewc_lambda`, so that runs with different
        `ewc_lambda` share the first stage. A run with `ewc_lambda: 0` does not use it, and stores
        it with the default settings.
        """
        acts: Effect = {"scope": self.scope}
        if self.scope == "lora":
            acts |= self.lora_effect(context)
            if self.matrices(context.blocks) == 0:  # no weights to penalize
                return acts
        else:
            acts["body_lr_scale"] = self.body_lr_scale
        acts["fisher_label"], gamma = self.fisher()
        if position > 0:
            acts |= {"ewc_lambda": self.ewc_lambda, "ewc_gamma": gamma}
        return acts

    def fisher(self) -> tuple[Literal["true", "sampled"], float]:
        """Return (label, gamma) of the stored Fisher information."""
        return (self.fisher_label, self.ewc_gamma) if self.ewc_lambda > 0 else ("true", 1.0)

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head, the trained weights, and their Fisher information."""
        full = self.scope == "full"
        weights = network(shapes) if full else self.module_sizes(shapes, self.rank)[-1]
        return [head(shapes) | {"weights": weights, "fisher": weights}] * len(shapes.stages)
