"""Nearest class mean: nothing to set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, MethodFields


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestClassMeanConfig(MethodFields):
    """Cosine to class means on the frozen backbone (SimpleCIL): no training at all."""

    TRAINS: ClassVar[bool] = False

    kind: Literal["nearest_class_mean"] = "nearest_class_mean"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """It has no hyperparameters: the backbone and the data decide."""
        return {}
