"""Hyperparameters of sequential fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.faults import finite, refuse, require
from clmethods.config.methods.fields import Effect, EffectContext, HeadKind, MethodFields


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialFinetuningConfig(MethodFields):
    """All weights trained on one task after the other, without protection: the lower reference."""

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["sequential_finetuning"] = "sequential_finetuning"
    head_loss: Literal["local", "global"] = "local"
    """Cross-entropy over the task's classes, or over all classes seen, the classic collapse."""
    body_lr_scale: float = 0.1
    """Learning rate of the backbone's weights over that of the head."""

    def __post_init__(self) -> None:
        scale = self.body_lr_scale
        refuse([*finite(self), require(scale >= 0, "body_lr_scale", scale, "0 or more")])

    @property
    def head(self) -> HeadKind:
        """The global loss reads and moves the rows of old classes."""
        return "moving" if self.head_loss == "global" else "settled"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """At the first task both losses run over the same classes."""
        acts: Effect = {"body_lr_scale": self.body_lr_scale}
        return acts if position == 0 else acts | {"head_loss": self.head_loss}
