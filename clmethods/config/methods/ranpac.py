"""Hyperparameters of RanPAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clmethods.config.methods.fields import Effect, EffectContext, HeadKind, LoraFields
from clmethods.config.methods.run_shapes import DOUBLE, GroupsByStage, RunShapes
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class RanpacConfig(LoraFields):
    """RanPAC (arXiv 2307.02251): ridge regression on randomly projected features.

    The first session can adapt the backbone, here with LoRA. Later sessions do not train. Preset
    of the first session: SGD 0.01, weight decay 5e-4, cosine, batch 48, 20 epochs; projection
    10000 (docs/method.md section 9.11).
    """

    kind: Literal["ranpac"] = "ranpac"
    first_session: bool = True
    """True trains LoRA modules on the first task, which are frozen afterwards."""
    projection: int = 2000
    """M, the width of the random projection; 0 uses the features without a projection. The state
    contains M (M + 1) / 2 numbers of 8 bytes: 16 MB for 2000, 400 MB for the published 10000."""
    ridge: float | None = None
    """Penalty of the ridge regression. None selects a power of ten by its error on a fifth of the
    images of each task."""

    def __post_init__(self) -> None:
        refuse(
            [
                *self.lora_issues(),
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
        """Return True at the first task if there are matrices to adapt."""
        return position == 0 and self.adapts(context)

    def draws_at(self, position: int, context: EffectContext) -> bool:
        """Return True if random numbers are drawn.

        The projection is drawn once. The images that select the penalty are drawn at every task.
        """
        draws = self.projection > 0 or self.ridge is None
        return draws or self.trains_at(position, context)

    def adapts(self, context: EffectContext) -> bool:
        """Return True if the first session trains modules."""
        return self.first_session and self.matrices(context.blocks) > 0

    @property
    def head(self) -> HeadKind:
        """`none`: the regression is not a linear head that is trained."""
        return "none"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act.

        The fields of the modules act at the first task, where they are trained. Later stages
        depend on them through their parents.
        """
        acts: Effect = {"projection": self.projection, "ridge": self.ridge}
        if position == 0 and self.adapts(context):
            acts["first_session"] = self.lora_effect(context)
        return acts

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the sums of the regression, targets of the classes, and the first modules."""
        width = self.projection or shapes.facts.width
        column = shapes.size_of((width,), word=DOUBLE)
        sums = shapes.size_of((width * (width + 1) // 2,), (), word=DOUBLE)  # with the penalty
        session = {"lora": self.module_sizes(shapes, self.rank)[-1]}
        return [
            {"sums": sums, f"target.{t}": column.times(classes)}
            | (session if self.trains_at(t, shapes.context) else {})
            for t, classes in enumerate(shapes.stages)
        ]
