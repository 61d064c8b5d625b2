"""Hyperparameters of sequential fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, FullFields, HeadKind
from clmethods.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialFinetuningConfig(FullFields):
    """Training of all weights on one task after another: the lower reference.

    PILOT's preset: SGD 1e-3 constant, body_lr_scale 1, weight decay 2e-4, batch 128, 20 epochs,
    local loss (docs/method.md section 9.1).
    """

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["sequential_finetuning"] = "sequential_finetuning"
    head_loss: Literal["local", "global"] = "local"
    """Cross-entropy over the classes of the task (`local`) or over all classes seen (`global`).
    With `global`, the accuracy on old tasks collapses."""

    def __post_init__(self) -> None:
        refuse(self.full_issues())

    @property
    def head(self) -> HeadKind:
        """`moving` with the global loss, which uses and changes the rows of old classes."""
        return "moving" if self.head_loss == "global" else "settled"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act; at the first task both losses use the same classes."""
        acts: Effect = {"body_lr_scale": self.body_lr_scale}
        return acts if position == 0 else acts | {"head_loss": self.head_loss}
