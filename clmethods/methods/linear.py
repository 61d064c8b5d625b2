"""Linear classifier on the frozen backbone, trained task by task or once on all tasks."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import LowRank, Method, MethodReport, ParamGroup, Predictor, State
from clmethods.methods.lora import count, head_delta, merged_predictor, task_head
from clmethods.nn.backbone import FrozenBackbone, features


class _Linear(Method):
    """Local cross-entropy; only the head is trained."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.network = backbone.build()
        self.head = task_head(self)

    def parameter_groups(self) -> list[ParamGroup]:
        return [ParamGroup([self.head.weight, self.head.bias])]

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            frozen_features = features(self.network, pixels)
        return {"cross_entropy": self.head.cross_entropy(frozen_features, labels)}

    def end_task(self, data: TaskData) -> State:
        return head_delta(self.head)

    def report(self, state: State) -> MethodReport:
        return MethodReport(trainable_parameters=count(self))

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        return merged_predictor(backbone, {}, state)

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        return {}


@final
class LinearProbe(_Linear):
    """One task after another (docs/method.md section 9.1): the lower reference of plasticity."""


@final
class JointLinear(_Linear):
    """One stage over all tasks (docs/method.md section 9.2)."""
