"""Hyperparameters of a linear classifier on the frozen backbone: there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, HeadKind, MethodFields


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProbeConfig(MethodFields):
    """The head alone, one task after the other: the floor of what a task can be learned with."""

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["linear_probe"] = "linear_probe"

    @property
    def head(self) -> HeadKind:
        """Local cross-entropy: rows of other tasks are not even parameters."""
        return "settled"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """It has no hyperparameters: backbone, data and training decide."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLinearConfig(MethodFields):
    """The head alone, trained once on all tasks together."""

    ORDER_FREE: ClassVar[bool] = True
    REFERENCE: ClassVar[bool] = True
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["joint_linear"] = "joint_linear"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """It has no hyperparameters: backbone, data and training decide."""
        return {}
