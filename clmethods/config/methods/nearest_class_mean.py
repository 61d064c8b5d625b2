"""Hyperparameters of the nearest class mean classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, MethodFields
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestClassMeanConfig(MethodFields):
    """Nearest class mean on features of the frozen backbone, without training (docs/method.md
    9.10)."""

    TRAINS: ClassVar[bool] = False

    kind: Literal["nearest_class_mean"] = "nearest_class_mean"
    metric: Literal["cosine", "euclid"] = "cosine"
    """Decision by the largest cosine similarity to a class mean (SimpleCIL), or by the smallest
    Euclidean distance (NMC)."""

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act.

        `euclid` acts at every task, because it stores a constant per class besides the mean.
        """
        return {} if self.metric == "cosine" else {"metric": self.metric}

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return a mean per class, and a constant with `euclid`."""
        bias = [()] if self.metric == "euclid" else []
        each = shapes.size_of((shapes.facts.width,), *bias)
        return [{f"mean.{t}": each.times(classes)} for t, classes in enumerate(shapes.stages)]
