"""Hyperparameters of SD-LoRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import AdapterFields, Effect, EffectContext, Site
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class SdLoraConfig(AdapterFields):
    """SD-LoRA (arXiv 2501.13198): modules with frozen directions and trained magnitudes.

    Presets: SGD, batch 128, 20 epochs, constant rate 8e-3 (CIFAR-100), 1e-2 (ImageNet-R), 0.02
    with 10 epochs (DomainNet); no weight decay (docs/method.md section 9.6).
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["sd_lora"] = "sd_lora"
    rank: int = 10
    """r, the rank of the module of one task. The magnitude scales the module."""
    sites: tuple[Site, ...] = ("q", "v")
    """Matrices that are adapted in each block. Their order has no effect."""
    a_init: Literal["kaiming_ref", "kaiming_fan_in"] = "kaiming_fan_in"
    """Initialization of A: uniform in ±1/sqrt(r) (`kaiming_ref`) or in ±1/sqrt(fan-in)."""
    sd_carry: Literal["ref", "continuous"] = "ref"
    """State of old modules when a new task starts. `ref`: they are normalized and all magnitudes
    are reset, so that the outputs change at the task boundary. `continuous`: they keep their norm
    and their magnitude."""
    magnitude_init: float = 0.8
    """Initial value of the magnitudes."""
    magnitude_lr_scale: float = 1.0
    """Ratio of the learning rate of the magnitudes to that of the modules."""

    def __post_init__(self) -> None:
        start, scale = self.magnitude_init, self.magnitude_lr_scale
        refuse(
            [
                *self.adapter_issues(),
                require(start > 0, "magnitude_init", start, "greater than 0"),
                require(scale >= 0, "magnitude_lr_scale", scale, "0 or more"),
            ]
        )

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act; `sd_carry` acts from the second task on."""
        acts = self.adapter_effect(context)
        if self.matrices(context.blocks) == 0:
            return acts
        acts |= {
            "a_init": self.a_init,
            "magnitude_init": self.magnitude_init,
            "magnitude_lr_scale": self.magnitude_lr_scale,
        }
        return acts if position == 0 else acts | {"sd_carry": self.sd_carry}

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head, a new module per matrix, and the magnitudes of all modules."""
        modules = self.stored_in_module_each(shapes)
        if self.matrices(shapes.facts.blocks) == 0:
            return modules
        return [
            groups | {f"magnitudes.{t}": shapes.size_of((t + 1,))}
            for t, groups in enumerate(modules)
        ]
