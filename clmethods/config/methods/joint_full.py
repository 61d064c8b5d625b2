"""Hyperparameters of joint training of all weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, FullFields
from clmethods.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class JointFullConfig(FullFields):
    """Training of all weights on all tasks at once (docs/method.md section 9.2).

    RanPAC's preset: 30 epochs, head 1e-2, body_lr_scale 0.01, weight decay 5e-4, batch 128.
    """

    ORDER_FREE: ClassVar[bool] = True
    REFERENCE: ClassVar[bool] = True
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["joint_full"] = "joint_full"

    def __post_init__(self) -> None:
        refuse(self.full_issues())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the only field, which acts in the single stage."""
        return {"body_lr_scale": self.body_lr_scale}
