"""Configurations of linear classifiers on the frozen backbone, which have no hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, HeadKind, MethodFields
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes, head


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProbeConfig(MethodFields):
    """Training of only the head, task after task: a lower baseline for other methods."""

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["linear_probe"] = "linear_probe"

    @property
    def head(self) -> HeadKind:
        """`settled`: with local cross-entropy, rows of other tasks are not parameters."""
        return "settled"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return no fields: the method has no hyperparameters."""
        return {}

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head, which every stage replaces."""
        return [head(shapes)] * len(shapes.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLinearConfig(MethodFields):
    """Training of only the head, on all tasks at once."""

    ORDER_FREE: ClassVar[bool] = True
    REFERENCE: ClassVar[bool] = True
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["joint_linear"] = "joint_linear"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return no fields: the method has no hyperparameters."""
        return {}

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head, which every stage replaces."""
        return [head(shapes)] * len(shapes.stages)
