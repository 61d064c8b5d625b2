"""Online EWC (arXiv 1612.00796, 1805.06370): a quadratic penalty on changes of important weights.

State, by name, in addition to the weights and the head of `finetuning.py` or `single_lora.py`:

    fisher.NAME    diagonal Fisher information of the weight NAME, over all tasks so far
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.methods import EwcConfig
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import MethodReport, Predictor, State, method_config
from clmethods.methods.finetuning import Body, Finetuning, full_body, full_predictor
from clmethods.methods.lora import adapter_reports, count, merged_predictor
from clmethods.methods.single_lora import carried_adapters, carried_deltas, factor_names
from clmethods.nn.adapted_networks import Matrix, adapted_network
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.fisher import diagonal_fisher, images_at_once
from clmethods.nn.lora import SiteAdapter


@final
class Ewc(Finetuning):
    """Local CE + lambda sum_k F_k (theta_k - theta*_k)^2; F <- gamma F + F_t after a task.

    The head has no penalty: with a local loss the rows of earlier classes cannot change, and those
    of the task are new (docs/method.md section 9.7).
    """

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        self.config = method_config(run, EwcConfig)
        self.adapters: dict[Matrix, SiteAdapter] = {}
        super().__init__(run, stage, backbone, state)
        penalized = stage.position > 0 and self.config.ewc_lambda > 0
        self.anchors = self.body.delta() if penalized else {}

    def open_body(self) -> Body:
        if self.config.scope == "full":
            return full_body(self, self.config.body_lr_scale)
        self.adapters = carried_adapters(self, self.config.rank)
        network = adapted_network(self.backbone, self.adapters)
        return Body(network, dict(factor_names(self.adapters)), None)

    def extra_terms(self, pixels: Tensor, embedded: Tensor) -> dict[str, Tensor]:
        if not self.anchors:
            return {}
        penalties = [
            (self.state[f"fisher.{name}"] * (self.body.weights[name] - anchor).square()).sum()
            for name, anchor in self.anchors.items()
        ]
        return {"consolidation": self.config.ewc_lambda * torch.stack(penalties).sum()}

    def evidence(self, data: TaskData) -> State:
        label, gamma = self.config.fisher()
        weights, head = self.body.weights, self.head
        if not weights:
            return {}
        current = diagonal_fisher(
            self.network, weights, (head.weight, head.bias), self._batches(data, label)
        )
        before = {name: self.state.get(f"fisher.{name}") for name in current}
        return {
            f"fisher.{name}": fisher if (old := before[name]) is None else gamma * old + fisher
            for name, fisher in current.items()
        }

    def report(self, state: State) -> MethodReport:
        rows = adapter_reports(self.adapters)
        return MethodReport(trainable_parameters=count(self), matrices=rows)

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        if method_config(run, EwcConfig).scope == "full":
            return full_predictor(backbone, state, "head")
        return merged_predictor(backbone, carried_deltas(run, backbone, state), state)

    def _batches(self, data: TaskData, label: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over pixels and the labels for the Fisher information, as head rows."""
        generator = self.generator("fisher")
        size = images_at_once(self.body.weights)
        for chosen in torch.split(torch.arange(len(data)), size):
            labels = data.labels[chosen]
            pixels = self.backbone.preprocess(data.images[chosen])
            if label == "true":
                targets = torch.searchsorted(self.head.rows, labels.to(pixels.device))
            else:
                logits = self.head.logits(features(self.network, pixels))
                probabilities = logits.double().softmax(dim=1).cpu()
                drawn = torch.multinomial(probabilities, 1, generator=generator).flatten()
                targets = drawn.to(pixels.device)
            yield pixels, targets
