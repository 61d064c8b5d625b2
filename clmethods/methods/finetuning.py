"""Fine-tuning of a body and a head, both initialized from the state after the previous task.

Base of sequential and joint fine-tuning, EWC, LwF and SLCA. Each of them adds terms to the loss or
tensors to the state. State, by name:

    vit.NAME                   the backbone's weights, by timm's names
    head.weight, head.bias     the classifier
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from clmethods.config.keys import StageSpec
from clmethods.config.methods import FullFields
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import Method, MethodReport, ParamGroup, Predictor, State
from clmethods.methods.lora import count, head_delta, task_head
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.head import TaskHead


@final
@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Network and its trainable weights."""

    network: VisionTransformer
    weights: dict[str, nn.Parameter]
    """Trainable weights, by their names in the state."""
    lr_scale: float | None
    """Learning rate relative to that of the head; None puts both into one parameter group."""

    def groups(self, head: TaskHead) -> list[ParamGroup]:
        """Return the parameter groups of the body and the head."""
        weights, own = list(self.weights.values()), [head.weight, head.bias]
        if self.lr_scale is None:
            return [ParamGroup([*weights, *own])]
        return [ParamGroup(own), ParamGroup(weights, self.lr_scale)]

    def delta(self) -> State:
        """Return copies of the current weights."""
        return {name: weight.detach().clone() for name, weight in self.weights.items()}


class Finetuning(Method):
    """Cross-entropy over the rows of the head; all weights are trained by default."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.body = self.open_body()
        self.network = self.body.network
        self.head = self.open_head()

    def open_body(self) -> Body:
        """Return the network and its trainable weights."""
        if not isinstance(self.run.method, FullFields):
            raise TypeError(f"{self.run.method.kind} has no rate for the body")
        return full_body(self, self.run.method.body_lr_scale)

    def open_head(self) -> TaskHead:
        """Return the head: its trainable rows and the classes of the cross-entropy."""
        return task_head(self)

    def extra_terms(self, pixels: Tensor, embedded: Tensor) -> dict[str, Tensor]:
        """Return further loss terms; `embedded` (B, D) are the features of the batch."""
        return {}

    def evidence(self, data: TaskData) -> State:
        """Return the tensors that the state contains in addition to weights and head."""
        return {}

    @final
    def parameter_groups(self) -> list[ParamGroup]:
        return self.body.groups(self.head)

    @final
    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        embedded = features(self.network, pixels)
        terms = {"cross_entropy": self.head.cross_entropy(embedded, labels)}
        return terms | self.extra_terms(pixels, embedded)

    @final
    def end_task(self, data: TaskData) -> State:
        return head_delta(self.head) | self.body.delta() | self.evidence(data)

    def report(self, state: State) -> MethodReport:
        return MethodReport(trainable_parameters=count(self))

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        return full_predictor(backbone, state, "head")


def full_body(method: Method, lr_scale: float) -> Body:
    """Return a body with a trainable copy of all weights."""
    start = method.backbone.tensors | stored_weights(method.state)
    own = {name: tensor.clone() for name, tensor in start.items()}  # the originals are shared
    network = method.backbone.build(own).requires_grad_(True)
    weights = {f"vit.{name}": weight for name, weight in network.named_parameters()}
    return Body(network, weights, lr_scale)


def stored_weights(state: State) -> State:
    """Return the backbone's weights in the state, by timm's names."""
    return {name[4:]: tensor for name, tensor in state.items() if name.startswith("vit.")}


def full_predictor(backbone: FrozenBackbone, state: State, head: str) -> Predictor:
    """Return a predictor with the stored weights and the stored classifier called `head`."""
    weight, bias = state[f"{head}.weight"], state[f"{head}.bias"]
    network = backbone.build(stored_weights(state))
    return Predictor(backbone, network, lambda h: F.linear(h, weight, bias))
