"""Hyperparameters of RanPAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clmethods.config.methods.fields import Effect, EffectContext, HeadKind, LoraFields
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class RanpacConfig(LoraFields):
    """RanPAC (arXiv 2307.02251): ridge regression on randomly projected features.

    The first session may adapt the backbone, here by LoRA; after it nothing is trained. Preset of
    that session: SGD 0.01, weight decay 5e-4, cosine, batch 48, 20 epochs; projection 10000
    (docs/method.md section 9.11).
    """

    kind: Literal["ranpac"] = "ranpac"
    first_session: bool = True
    """Whether LoRA modules are trained on the first task, and then kept as they are."""
    projection: int = 2000
    """M, the width of the random projection; 0 is ridge regression on the features themselves.
    The state holds M (M + 1) / 2 numbers of 8 bytes: 16 MB here, 400 MB at the published 10000."""
    ridge: float | None = None
    """Penalty of the regression; None chooses a power of ten on a fifth of each task."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.lora_faults(),
                require(self.projection >= 0, "projection", self.projection, "0 or more"),
                require(
                    self.ridge is None or self.ridge > 0,
                    "ridge",
                    self.ridge,
                    "null, or greater than 0",
                ),
            ]
        )

    def trains_at(self, position: int, context: EffectContext) -> bool:
        """Only the first task is trained, and only where there is something to adapt."""
        return position == 0 and self.adapts(context)

    def draws_at(self, position: int, context: EffectContext) -> bool:
        """The projection is drawn once, the images of the choice at every task."""
        draws = self.projection > 0 or self.ridge is None
        return draws or self.trains_at(position, context)

    def adapts(self, context: EffectContext) -> bool:
        """Whether the first session leaves modules behind."""
        return self.first_session and self.matrices(context.blocks) > 0

    @property
    def head(self) -> HeadKind:
        """The regression is no linear head that a task trains."""
        return "none"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """The modules act where they are trained; later stages have them from their parents."""
        acts: Effect = {"projection": self.projection, "ridge": self.ridge}
        if position == 0 and self.adapts(context):
            acts["first_session"] = self.lora_effect(context)
        return acts
