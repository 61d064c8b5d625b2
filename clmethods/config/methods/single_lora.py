"""Hyperparameters of one LoRA module for all tasks: one after another, or jointly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, LoraFields
from clmethods.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSequentialConfig(LoraFields):
    """One LoRA module fine-tuned task after task: the natural control of LoRAC."""

    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["lora_sequential"] = "lora_sequential"

    def __post_init__(self) -> None:
        refuse(self.lora_faults())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """All fields act at every task."""
        return self.lora_effect(context)

    def orthonormal_modules(self, context: EffectContext) -> int:
        """One: there is no earlier module whose complement to start in."""
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLoraConfig(LoraFields):
    """LoRA of rank r * T trained once on all tasks together: the upper reference.

    `lora_alpha / rank` stays the scale, so that its capacity is that of T modules of rank r.
    """

    ORDER_FREE: ClassVar[bool] = True
    REFERENCE: ClassVar[bool] = True
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["joint_lora"] = "joint_lora"

    def __post_init__(self) -> None:
        refuse(self.lora_faults())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """All fields act in the single stage, and so does T through the rank of the modules."""
        acts = self.lora_effect(context)
        if self.matrices(context.blocks) > 0:
            acts["joint_rank"] = self.rank * context.tasks
        return acts

    def orthonormal_modules(self, context: EffectContext) -> int:
        """T: the one module has the rank of so many."""
        return context.tasks
