"""Hyperparameters of a single LoRA module per matrix, trained sequentially or jointly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, LoraFields
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes, head
from clmethods.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSequentialConfig(LoraFields):
    """Fine-tuning of one LoRA module per matrix, task after task: the control for LoRAC."""

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["lora_sequential"] = "lora_sequential"

    def __post_init__(self) -> None:
        refuse(self.lora_issues())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act; all fields act at every task."""
        return self.lora_effect(context)

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and one module per matrix, which every stage replaces."""
        return self.stored_in_one_module(shapes)

    def orthonormal_modules(self, context: EffectContext) -> int:
        """Return 1, because there are no earlier modules."""
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLoraConfig(LoraFields):
    """Training of a LoRA module of rank r * T on all tasks at once: the upper reference.

    The scale remains `lora_alpha / rank`, so that the capacity equals that of T modules of rank r.
    """

    ORDER_FREE: ClassVar[bool] = True
    REFERENCE: ClassVar[bool] = True
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["joint_lora"] = "joint_lora"

    def __post_init__(self) -> None:
        refuse(self.lora_issues())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act: all fields, and T through the rank of the module."""
        acts = self.lora_effect(context)
        if self.matrices(context.blocks) > 0:
            acts["joint_rank"] = self.rank * context.tasks
        return acts

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and a module of rank r * T per matrix."""
        module = self.module_sizes(shapes, self.rank * shapes.context.tasks)[-1]
        return [head(shapes) | {"lora": module}]

    def orthonormal_modules(self, context: EffectContext) -> int:
        """Return T, because the module has the rank of T modules."""
        return context.tasks
