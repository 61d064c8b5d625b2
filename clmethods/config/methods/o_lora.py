"""Hyperparameters of O-LoRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, LoraFields
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class OLoraConfig(LoraFields):
    """O-LoRA (arXiv 2310.14152): a new module per task, with a penalty toward orthogonality.

    The public code uses lambda1 0.5, lambda2 0 to 0.3, rank 8, sites q and v, on T5. For Vision
    Transformers sweep lambda1 in 1e-3..1 with lambda2 0 (docs/method.md section 9.4).
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["o_lora"] = "o_lora"
    olora_pow: Literal[1, 2] = 1
    """Exponent p. The overlap of two modules is the sum over the entries of |A_i A_t^T|^p."""
    lambda1: float = 0.5
    """Weight of the overlap with earlier modules."""
    lambda2: float = 0.0
    """Weight of the norms of the current A and B."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.lora_issues(),
                require(self.olora_pow in {1, 2}, "olora_pow", self.olora_pow, "1 or 2"),
                require(self.lambda1 >= 0, "lambda1", self.lambda1, "0 or more"),
                require(self.lambda2 >= 0, "lambda2", self.lambda2, "0 or more"),
            ]
        )

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act.

        `lambda1` acts from the second task on, and `olora_pow` only if `lambda1` is not 0.
        """
        acts = self.lora_effect(context)
        if self.matrices(context.blocks) == 0:
            return acts
        acts["lambda2"] = self.lambda2
        if position > 0:
            acts["lambda1"] = self.lambda1
            if self.lambda1 > 0:
                acts["olora_pow"] = self.olora_pow
        return acts

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and a new module per matrix for every stage."""
        return self.stored_in_module_each(shapes)
