"""Nearest class mean on the frozen backbone; the result does not depend on the task order."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.methods import NearestClassMeanConfig
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
    method_config,
)
from clmethods.nn.backbone import FrozenBackbone


@final
class NearestClassMean(Method):
    """Nearest class mean by cosine or Euclidean distance (docs/method.md section 9.10)."""

    def parameter_groups(self) -> list[ParamGroup]:
        return []

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        raise TypeError("nearest class mean has no loss")

    def end_task(self, data: TaskData) -> State:
        network = Predictor(self.backbone, self.backbone.build(), lambda h: h)
        embedded = network.features(data.images)
        means = {
            f"mean.{label}": embedded[data.labels == label].mean(dim=0)
            for label in self.stage.classes
        }
        if method_config(self.run, NearestClassMeanConfig).metric == "cosine":
            return means
        # argmin |h - p| = argmax h p - |p|^2 / 2: a classifier with a bias
        biases = {f"bias.{n.removeprefix('mean.')}": -0.5 * p.dot(p) for n, p in means.items()}
        return means | biases

    def report(self, state: State) -> MethodReport:
        return MethodReport(trainable_parameters=0)

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        weight, bias = cls._rows(run, backbone, state)
        if method_config(run, NearestClassMeanConfig).metric == "euclid":
            return Predictor(backbone, backbone.build(), lambda h: F.linear(h, weight, bias))
        return Predictor(
            backbone, backbone.build(), lambda h: F.linear(F.normalize(h, dim=1), weight)
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
        weight, bias = cls._rows(run, backbone, state)
        return LinearHead(
            weight, bias, cosine=method_config(run, NearestClassMeanConfig).metric == "cosine"
        )

    @staticmethod
    def _rows(run: RunConfig, backbone: FrozenBackbone, state: State) -> tuple[Tensor, Tensor]:
        """Return weight (C, D) and bias (C,) of the equivalent linear layer.

        For `cosine`, the rows are normalized means and the bias is 0. For `euclid`, the rows are
        means and the bias is minus half their squared norm. Classes not yet learned have zeros.
        """
        classes = range(run.stream.facts.classes)
        unknown = torch.zeros(backbone.width, device=backbone.device, dtype=backbone.dtype)
        means = torch.stack([state.get(f"mean.{label}", unknown) for label in classes])
        if method_config(run, NearestClassMeanConfig).metric == "cosine":
            return F.normalize(means, dim=1), means.new_zeros(len(means))
        origin = unknown.new_zeros(())
        return means, torch.stack([state.get(f"bias.{label}", origin) for label in classes])
