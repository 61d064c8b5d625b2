"""Hyperparameters of InfLoRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import AdapterFields, Effect, EffectContext, Site
from clmethods.config.methods.run_shapes import DOUBLE, GroupsByStage, RunShapes, Size, head
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class InfLoraConfig(AdapterFields):
    """InfLoRA (arXiv 2404.00228): modules that do not act on the inputs of earlier tasks.

    The down-projection is computed from the inputs of the task and is not trained. Sites with the
    same input share it. Presets: Adam 5e-4, batch 128, 20 epochs (CIFAR-100) or 50 (ImageNet-R,
    lambda_e 0.98); DomainNet SGD, rank 30, 5 epochs (docs/method.md section 9.5).
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["inflora"] = "inflora"
    rank: int = 10
    """r, the rank of the module of one task. The module is not scaled."""
    sites: tuple[Site, ...] = ("k", "v")
    """Matrices that are adapted in each block. Their order has no effect."""
    lambda_e: float = 0.95
    """Fraction of the energy of the inputs that is protected after the first task. It increases
    toward 1 with later tasks."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.adapter_issues(),
                require(
                    0.0 < self.lambda_e <= 1.0, "lambda_e", self.lambda_e, "above 0, at most 1"
                ),
            ]
        )

    def energy(self, position: int, tasks: int) -> float:
        """Return epsilon_t, the fraction of energy in the bases after the task at `position`."""
        return self.lambda_e + (1.0 - self.lambda_e) * position / tasks

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act. T acts only through the energy, from the second task on."""
        acts = self.adapter_effect(context)
        if self.matrices(context.blocks) > 0:
            acts["energy"] = self.energy(position, context.tasks)
        return acts

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head, a new module per matrix, and the bases, which every stage replaces.

        Sites with the same input share A. A basis has at most half of all directions.
        """
        fans = {site: shapes.facts.fan(site) for site in self.ordered_sites()}
        inputs = {"qkv" if site in "qkv" else site: fan_in for site, (fan_in, _) in fans.items()}
        depth = self.adapted_blocks(shapes.facts.blocks)
        ups = shapes.size_of(*((fan_out, self.rank) for _, fan_out in fans.values()))
        downs = shapes.size_of(*((self.rank, fan_in) for fan_in in inputs.values()))
        bases = shapes.size_of(*((fan_in, fan_in // 2) for fan_in in inputs.values()), word=DOUBLE)
        sides = Size(len(inputs), len(inputs))  # one boolean per basis
        module, basis = (ups + downs).times(depth), (bases + sides).times(depth)
        return [
            head(shapes) | {f"lora.{t}": module, "basis": basis} for t in range(len(shapes.stages))
        ]
