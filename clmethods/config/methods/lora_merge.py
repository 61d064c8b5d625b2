"""Hyperparameters of LoRA modules that are merged after each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, LoraFields
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes
from clmethods.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraMergeConfig(LoraFields):
    """LoRA with a new module per task, which is merged into the weights after the task.

    The update is the sum of T modules without module weights, penalty or constraint
    (docs/method.md section 9.3). The modules are stored as factors, so that every earlier snapshot
    is available.
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["lora_merge"] = "lora_merge"

    def __post_init__(self) -> None:
        refuse(self.lora_issues())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act; all fields act at every task."""
        return self.lora_effect(context)

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and a new module per matrix for every stage."""
        return self.stored_in_module_each(shapes)
