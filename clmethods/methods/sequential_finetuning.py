"""Sequential fine-tuning of all weights (method.md section 9.1): what forgetting looks like."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.methods import SequentialFinetuningConfig
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import Method, MethodReport, ParamGroup, Predictor, State
from clmethods.methods.lora import count, head_delta, task_head
from clmethods.nn.backbone import FrozenBackbone, features


@final
class SequentialFinetuning(Method):
    """Cross-entropy over the task's classes (`local`) or all seen ones (`global`)."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.config = finetuning_config(run)
        start = backbone.tensors | stored_weights(state)
        own = {name: tensor.clone() for name, tensor in start.items()}  # the others are shared
        self.network = backbone.build(own).requires_grad_(True)
        seen = run.stream.sequence()[: stage.position + 1]
        everything = tuple(sorted({label for group in seen for label in group.classes}))
        self.head = task_head(self, everything if self.config.head_loss == "global" else None)

    def parameter_groups(self) -> list[ParamGroup]:
        body = list(self.network.parameters())
        return [
            ParamGroup([self.head.weight, self.head.bias]),
            ParamGroup(body, self.config.body_lr_scale),
        ]

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}

    def end_task(self, data: TaskData) -> State:
        weights = {f"vit.{name}": t.clone() for name, t in self.network.state_dict().items()}
        return head_delta(self.head) | weights

    def report(self, state: State) -> MethodReport:
        return MethodReport(trainable_parameters=count(self))

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        weight, bias = state["head.weight"], state["head.bias"]
        return Predictor(
            backbone, backbone.build(stored_weights(state)), lambda h: F.linear(h, weight, bias)
        )


def finetuning_config(run: RunConfig) -> SequentialFinetuningConfig:
    """The method's configuration, which must be that of sequential fine-tuning."""
    if not isinstance(run.method, SequentialFinetuningConfig):
        raise TypeError(f"expected sequential_finetuning, got {run.method.kind}")
    return run.method


def stored_weights(state: State) -> State:
    """The backbone's weights as the state holds them, by timm's names."""
    return {name[4:]: tensor for name, tensor in state.items() if name.startswith("vit.")}
