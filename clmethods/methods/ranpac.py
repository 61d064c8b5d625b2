"""RanPAC (arXiv 2307.02251): ridge regression on random projections of frozen features.

State, by name (M = width of the projection, or of the features without one):

    lora.BLOCK.SITE.A / .B   modules of the first session, if it was trained
    gram                     (M (M + 1) / 2,) upper triangle of G = sum of phi^T phi, in float64
    target.LABEL             (M,) column of Q = sum of phi^T y for a class, in float64
    ridge                    () penalty that the last task selected, or the given one, in float64

The projection is drawn from the run's seed, so the state does not contain it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from timm.models import VisionTransformer
from torch import Tensor

from clmethods.canonical import derive_seed
from clmethods.config.keys import StageSpec
from clmethods.config.methods import RanpacConfig
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.methods.base import (
    LinearHead,
    Method,
    MethodReport,
    ParamGroup,
    Predictor,
    State,
    method_config,
)
from clmethods.methods.lora import adapter_reports, count, task_head
from clmethods.methods.single_lora import carried_adapters, carried_deltas, factor_names
from clmethods.nn.adapted_networks import Matrix, adapted_network, merged_weights
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.lora import SiteAdapter
from clmethods.nn.ridge import FLOOR, choose_ridge, pack, ridge_weights, unpack


@final
class Ranpac(Method):
    """Ridge regression; the first session may train LoRA modules with a temporary head."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.config = method_config(run, RanpacConfig)
        self.adapters: dict[Matrix, SiteAdapter] = {}
        if self.config.trains_at(stage.position, run.context):
            self.adapters = carried_adapters(self, self.config.rank)
        self.network = adapted_network(backbone, self.adapters)
        self.head = task_head(self)

    def parameter_groups(self) -> list[ParamGroup]:
        if not self.adapters:
            return []
        factors = list(factor_names(self.adapters).values())
        return [ParamGroup([*factors, self.head.weight, self.head.bias])]

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}

    def end_task(self, data: TaskData) -> State:
        delta: State = {
            name: factor.detach().clone() for name, factor in factor_names(self.adapters).items()
        }
        network = adapted(self.run, self.backbone, self.state | delta)
        embedded = Predictor(self.backbone, network, lambda h: h).features(data.images)
        inputs = projection(self.run, self.backbone)(embedded)  # (n, M)
        labels = data.labels.to(inputs.device)
        gram = pack(inputs.T @ inputs)
        if "gram" in self.state:
            gram = self.state["gram"] + gram
        delta["gram"] = gram
        onehot = torch.stack([labels == label for label in self.stage.classes], dim=1).to(inputs)
        for column, label in enumerate(self.stage.classes):
            delta[f"target.{label}"] = inputs.T @ onehot[:, column]
        delta["ridge"] = gram.new_tensor(self._ridge(inputs, onehot, gram))
        return delta

    def report(self, state: State) -> MethodReport:
        return MethodReport(
            trainable_parameters=count(self), matrices=adapter_reports(self.adapters)
        )

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        project, weights = projection(run, backbone), regression(run, backbone, state)
        return Predictor(backbone, adapted(run, backbone, state), lambda h: project(h) @ weights)

    @classmethod
    def linear_head(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int
    ) -> LinearHead | None:
        if method_config(run, RanpacConfig).projection > 0:
            return None  # a random layer and a ReLU precede it
        weights = regression(run, backbone, state).T.to(backbone.dtype)  # (C, D)
        return LinearHead(weights, weights.new_zeros(len(weights)))

    def _ridge(self, inputs: Tensor, onehot: Tensor, gram: Tensor) -> float:
        """Return the penalty selected on this task, not too small for the sum of all tasks."""
        if self.config.ridge is not None:
            return self.config.ridge
        width = inputs.shape[1]
        floor = FLOOR * float(unpack(gram, width).trace()) / width
        order = torch.randperm(len(inputs), generator=self.generator("ridge"))
        return choose_ridge(inputs, onehot, order.to(inputs.device), floor)


def adapted(run: RunConfig, backbone: FrozenBackbone, state: State) -> VisionTransformer:
    """Return the frozen network with the modules of the first session merged."""
    return backbone.build(merged_weights(backbone, carried_deltas(run, backbone, state)))


def projection(run: RunConfig, backbone: FrozenBackbone) -> Callable[[Tensor], Tensor]:
    """Return a function from features (n, D) to inputs (n, M) in float64.

    It is ReLU(h W) with W ~ N(0, 1), or h if there is no projection.
    """
    width = method_config(run, RanpacConfig).projection
    if width == 0:
        return lambda h: h.double()
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "random projection"))
    matrix = torch.randn(backbone.width, width, generator=generator, dtype=torch.float64)
    matrix = matrix.to(backbone.device)
    return lambda h: (h.double() @ matrix).relu()


def regression(run: RunConfig, backbone: FrozenBackbone, state: State) -> Tensor:
    """Return (G + ridge I)^-1 Q (M, C); columns of classes not yet learned are 0.

    Raises `InvalidConfigError` if the penalty is too small for float64.
    """
    width = method_config(run, RanpacConfig).projection or backbone.width
    unknown = state["gram"].new_zeros(width)
    classes = range(run.stream.facts.classes)
    target = torch.stack([state.get(f"target.{c}", unknown) for c in classes], dim=1)
    try:
        return ridge_weights(unpack(state["gram"], width), target, float(state["ridge"]))
    except ValueError as error:
        hint = "Increase it, or omit it to select it automatically."
        issue = ConfigIssue(
            "method.ridge",
            float(state["ridge"]),
            "a penalty large enough to solve the regression in float64",
            hint,
        )
        raise InvalidConfigError([issue]) from error
