"""Hyperparameters of LoRA modules merged one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, LoraFields
from clmethods.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraMergeConfig(LoraFields):
    """A fresh LoRA module per task, merged into the weights when the task ends.

    The sum of T modules without weights, penalty or constraint (docs/method.md section 9.3). The
    modules are kept as factors, so every earlier snapshot can be read.
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["lora_merge"] = "lora_merge"

    def __post_init__(self) -> None:
        refuse(self.lora_faults())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """All fields act at every task."""
        return self.lora_effect(context)
