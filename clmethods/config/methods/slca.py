"""Hyperparameters of SLCA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clmethods.config.methods.fields import Effect, EffectContext, FullFields
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class SlcaConfig(FullFields):
    """SLCA (arXiv 2303.05118): a slow learner, then a classifier aligned on sampled features.

    Preset: SGD 1e-2 for the head and a hundredth of it for the body, weight decay 5e-4, batch
    128, 20 epochs on CIFAR-100, 50 on ImageNet-R (docs/method.md section 9.9).
    """

    kind: Literal["slca"] = "slca"
    body_lr_scale: float = 0.01
    """Learning rate of the backbone's weights over that of the head."""
    align_epochs: int = 5
    """Epochs of the alignment, of as many steps as classes were seen; 0 leaves it out."""
    align_lr: float = 0.01
    """Learning rate of the alignment: SGD with momentum 0.9, cosine to 0."""
    align_samples: int = 256
    """Features drawn per class and epoch, and the batch size of the alignment."""
    logit_norm: float | None = 0.1
    """Temperature of the normalised logits; None aligns with plain cross-entropy."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.full_faults(),
                require(self.align_epochs >= 0, "align_epochs", self.align_epochs, "0 or more"),
                require(self.align_lr > 0, "align_lr", self.align_lr, "greater than 0"),
                require(self.align_samples >= 1, "align_samples", self.align_samples, "1 or more"),
                require(
                    self.logit_norm is None or self.logit_norm > 0,
                    "logit_norm",
                    self.logit_norm,
                    "null, or greater than 0",
                ),
            ]
        )

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Statistics are saved at every task, the alignment starts at the second."""
        acts: Effect = {"body_lr_scale": self.body_lr_scale}
        if position > 0:
            acts["align_epochs"] = self.align_epochs
            if self.align_epochs > 0:
                acts |= {
                    "align_lr": self.align_lr,
                    "align_samples": self.align_samples,
                    "logit_norm": self.logit_norm,
                }
        return acts
