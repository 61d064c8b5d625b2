"""Nearest class mean: how a feature is compared with the means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, MethodFields


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestClassMeanConfig(MethodFields):
    """Class means on the frozen backbone: no training at all (docs/method.md section 9.10)."""

    TRAINS: ClassVar[bool] = False

    kind: Literal["nearest_class_mean"] = "nearest_class_mean"
    metric: Literal["cosine", "euclid"] = "cosine"
    """The largest cosine to a mean (SimpleCIL), or the smallest distance (NMC)."""

    def effect(self, position: int, context: EffectContext) -> Effect:
        """The distance needs a constant per class beside the mean, so it acts at every task."""
        return {} if self.metric == "cosine" else {"metric": self.metric}
