"""Hyperparameters of InfLoRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import AdapterFields, Effect, EffectContext, Site
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class InfLoraConfig(AdapterFields):
    """InfLoRA (arXiv 2404.00228): modules that cannot act on the inputs of earlier tasks.

    The down-projection is computed from the task's inputs and stays as it is; sites that read the
    same input share it. Presets: Adam 5e-4, batch 128, 20 epochs (CIFAR-100) or 50 (ImageNet-R,
    lambda_e 0.98); DomainNet SGD, rank 30, 5 epochs (docs/method.md section 9.5).
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["inflora"] = "inflora"
    rank: int = 10
    """r of the module of one task; there is no scale."""
    sites: tuple[Site, ...] = ("k", "v")
    """Matrices adapted in each block; their order never matters."""
    lambda_e: float = 0.95
    """Share of the inputs' energy that is protected after the first task; it grows towards 1."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.adapter_faults(),
                require(
                    0.0 < self.lambda_e <= 1.0, "lambda_e", self.lambda_e, "above 0, at most 1"
                ),
            ]
        )

    def energy(self, position: int, tasks: int) -> float:
        """epsilon_t: share of the energy that the bases hold after the task at `position`."""
        return self.lambda_e + (1.0 - self.lambda_e) * position / tasks

    def effect(self, position: int, context: EffectContext) -> Effect:
        """T acts through the share alone, from the second task on."""
        acts = self.adapter_effect(context)
        if self.matrices(context.blocks) > 0:
            acts["energy"] = self.energy(position, context.tasks)
        return acts
