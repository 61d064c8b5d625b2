"""Nearest class mean on the frozen backbone: sums and counts, exact under any task order."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import (
    LinearHead,
    LowRank,
    Method,
    MethodReport,
    ParamGroup,
    Predictor,
    State,
)
from clmethods.nn.backbone import FrozenBackbone


@final
class NearestClassMean(Method):
    """argmax over classes of the cosine between feature and class mean (method.md 9.10)."""

    def parameter_groups(self) -> list[ParamGroup]:
        return []

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        raise TypeError("nearest class mean has no loss")

    def end_task(self, data: TaskData) -> State:
        network = Predictor(self.backbone, self.backbone.build(), lambda h: h)
        found = network.features(data.images)
        return {
            f"mean.{label}": found[data.labels == label].mean(dim=0)
            for label in self.stage.classes
        }

    def report(self, state: State) -> MethodReport:
        return MethodReport(trainable_parameters=0)

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        directions = cls._directions(run, backbone, state)
        return Predictor(
            backbone, backbone.build(), lambda h: F.linear(F.normalize(h, dim=1), directions)
        )

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        return {}

    @classmethod
    def linear_head(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int
    ) -> LinearHead | None:
        directions = cls._directions(run, backbone, state)
        return LinearHead(directions, directions.new_zeros(len(directions)), cosine=True)

    @staticmethod
    def _directions(run: RunConfig, backbone: FrozenBackbone, state: State) -> Tensor:
        """(C, D): means of unit length; zeros for classes not learned yet."""
        unknown = torch.zeros(backbone.width, device=backbone.device, dtype=backbone.dtype)
        classes = range(run.stream.facts.classes)
        means = torch.stack([state.get(f"mean.{label}", unknown) for label in classes])
        return F.normalize(means, dim=1)
