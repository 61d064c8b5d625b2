"""Hyperparameters of SLCA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clmethods.config.methods.fields import Effect, EffectContext, FullFields
from clmethods.config.methods.run_shapes import DOUBLE, GroupsByStage, RunShapes, head
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class SlcaConfig(FullFields):
    """SLCA (arXiv 2303.05118): slow training of the body, then alignment of the classifier.

    The alignment uses sampled features of all classes. Preset: SGD with 1e-2 for the head and 1e-4
    for the body, weight decay 5e-4, batch 128, 20 epochs on CIFAR-100, 50 on ImageNet-R
    (docs/method.md section 9.9).
    """

    kind: Literal["slca"] = "slca"
    body_lr_scale: float = 0.01
    """Ratio of the backbone's learning rate to that of the head."""
    align_epochs: int = 5
    """Number of epochs of the alignment; 0 disables it. An epoch has one step per class seen."""
    align_lr: float = 0.01
    """Initial learning rate of the alignment, which uses SGD with momentum 0.9 and a cosine
    schedule to 0."""
    align_samples: int = 256
    """Number of features sampled per class and epoch, and batch size of the alignment."""
    logit_norm: float | None = 0.1
    """Temperature of the normalized logits; None uses cross-entropy without normalization."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.full_issues(),
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
        """Return the fields that act.

        Statistics are stored at every task. The alignment acts from the second task on.
        """
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

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return head and network, statistics of the new classes, and from task 2 a second head.

        A class has at most as many rows as images, and at most D.
        """
        width = shapes.facts.width
        rows = width if shapes.images is None else min(shapes.images, width)
        each = shapes.size_of((width,), (rows, width), word=DOUBLE)
        aligned = {"aligned": head(shapes)["head"]} if self.align_epochs > 0 else {}
        return [
            groups | {f"class.{t}": each.times(shapes.stages[t])} | (aligned if t > 0 else {})
            for t, groups in enumerate(FullFields.stored(self, shapes))
        ]
