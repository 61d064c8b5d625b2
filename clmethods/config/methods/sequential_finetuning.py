"""Hyperparameters of sequential fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, FullFields, HeadKind
from clmethods.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialFinetuningConfig(FullFields):
    """All weights trained on one task after the other, without protection: the lower reference.

    PILOT's preset: SGD 1e-3 constant, body_lr_scale 1, weight decay 2e-4, batch 128, 20 epochs,
    local loss (docs/method.md section 9.1).
    """

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["sequential_finetuning"] = "sequential_finetuning"
    head_loss: Literal["local", "global"] = "local"
    """Cross-entropy over the task's classes, or over all classes seen, the classic collapse."""

    def __post_init__(self) -> None:
        refuse(self.full_faults())

    @property
    def head(self) -> HeadKind:
        """The global loss reads and moves the rows of old classes."""
        return "moving" if self.head_loss == "global" else "settled"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """At the first task both losses run over the same classes."""
        acts: Effect = {"body_lr_scale": self.body_lr_scale}
        return acts if position == 0 else acts | {"head_loss": self.head_loss}
