"""InfLoRA (arXiv 2404.00228): modules that do not respond to the inputs of earlier tasks.

State, by name (t = position; MODULE = timm's name of the layer, whose input its sites share):

    lora.t.BLOCK.MODULE.A      (r, a) down-projection of task t, computed and never trained
    lora.t.BLOCK.SITE.B        (b, r) up-projection that task t trained
    basis.BLOCK.MODULE         (a, k) basis of the protected or of the free directions
    complement.BLOCK.MODULE    () True if it is the basis of the free directions
    head.weight, head.bias     the classifier

Bases are in float64. A stage stores only the bases that it changes.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from clmethods.config.keys import StageSpec
from clmethods.config.methods import InfLoraConfig
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import (
    LowRank,
    Method,
    MethodReport,
    ParamGroup,
    Predictor,
    State,
    method_config,
)
from clmethods.methods.lora import (
    adapter_reports,
    count,
    head_delta,
    merged_predictor,
    task_head,
)
from clmethods.nn.adapted_networks import Matrix, adapted_matrices, adapted_network, merged_weights
from clmethods.nn.backbone import SITE_SLOTS, FrozenBackbone, features
from clmethods.nn.lora import SiteAdapter, composed_delta, folded
from clmethods.nn.protected_space import ProtectedSpace

Layer = tuple[int, str]
"""Block and module name of a layer, whose input a down-projection reads."""


@final
class InfLora(Method):
    """Delta(t) = sum_{i<=t} B_i A_i, of which only B_t is trained; local cross-entropy."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.config = method_config(run, InfLoraConfig)
        matrices = adapted_matrices(self.config, backbone.facts.blocks)
        self.layers = {matrix: layer_of(matrix) for matrix in matrices}
        self.past = summed_deltas(run, backbone, state, stage.position - 1)
        self.adapters: dict[Matrix, SiteAdapter] = {}
        self.network = backbone.build(merged_weights(backbone, self.past))
        self.head = task_head(self)

    def begin_task(self, data: TaskData) -> None:
        """Compute the down-projections from the inputs of the task under the current network."""
        downs = {
            layer: space_of(self.state, layer, len(moments))
            .down_projection(moments, self.config.rank)
            .to(device=self.backbone.device, dtype=self.backbone.dtype)
            for layer, moments in self._moments(data).items()
        }
        for matrix, layer in self.layers.items():
            fan_out = self.backbone.facts.fan(matrix.site)[1]
            b = downs[layer].new_zeros(fan_out, self.config.rank)
            self.adapters[matrix] = SiteAdapter(downs[layer], b, 1.0)
            self.adapters[matrix].a.requires_grad_(False)
        self.network = adapted_network(self.backbone, self.adapters, self.past)

    def parameter_groups(self) -> list[ParamGroup]:
        ups: list[nn.Parameter] = [adapter.b for adapter in self.adapters.values()]
        return [ParamGroup([*ups, self.head.weight, self.head.bias])]

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}

    def end_task(self, data: TaskData) -> State:
        delta, position = head_delta(self.head), self.stage.position
        for matrix, adapter in self.adapters.items():
            block, module = self.layers[matrix]
            delta[f"lora.{position}.{block}.{module}.A"] = adapter.a.detach().clone()
            delta[f"lora.{position}.{matrix}.B"] = adapter.b.detach().clone()
        energy = self.config.energy(position, self.run.stream.tasks)
        for layer, moments in self._moments(data).items():
            before = space_of(self.state, layer, len(moments))
            after = before.extended(moments, energy)
            if after.basis is not before.basis:
                name = f"{layer[0]}.{layer[1]}"
                delta[f"basis.{name}"] = after.basis
                delta[f"complement.{name}"] = torch.tensor(after.complement)
        return delta

    def report(self, state: State) -> MethodReport:
        return MethodReport(
            trainable_parameters=count(self), matrices=adapter_reports(self.adapters)
        )

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        return merged_predictor(backbone, summed_deltas(run, backbone, state, snapshot), state)

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        updates: dict[Matrix, tuple[Tensor, Tensor]] = {}
        for matrix in adapted_matrices(method_config(run, InfLoraConfig), backbone.facts.blocks):
            a, b = module_factors(state, matrix, snapshot)
            updates[matrix] = folded(a, b, a[0].new_ones(len(a)), 1.0)
        return updates

    def _moments(self, data: TaskData) -> dict[Layer, Tensor]:
        """Return the mean (a, a) of x x^T over all tokens each layer reads, in float64."""
        sums: dict[Layer, Tensor] = {}
        tokens: dict[Layer, int] = {}

        def watch(layer: Layer) -> torch.utils.hooks.RemovableHandle:
            def observe(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                x = inputs[0].detach().flatten(0, -2).double().cpu()  # (B * N, a)
                sums[layer] = sums.get(layer, 0.0) + x.T @ x
                tokens[layer] = tokens.get(layer, 0) + len(x)

            module = self.network.get_submodule(f"blocks.{layer[0]}.{layer[1]}")
            return module.register_forward_pre_hook(observe)

        handles = [watch(layer) for layer in dict.fromkeys(self.layers.values())]
        Predictor(self.backbone, self.network, lambda h: h).features(data.images)
        for handle in handles:
            handle.remove()
        return {layer: total / tokens[layer] for layer, total in sums.items()}


def layer_of(matrix: Matrix) -> Layer:
    """Return the layer that contains a matrix; query, key and value are in one layer."""
    return matrix.block, SITE_SLOTS[matrix.site].module


def space_of(state: State, layer: Layer, width: int) -> ProtectedSpace:
    """Return the protected directions of a layer's input, of `width` a, after the parent stage."""
    name = f"{layer[0]}.{layer[1]}"
    if f"basis.{name}" not in state:
        return ProtectedSpace.empty(width)
    return ProtectedSpace(state[f"basis.{name}"].cpu(), bool(state[f"complement.{name}"]))


def summed_deltas(
    run: RunConfig, backbone: FrozenBackbone, state: State, last: int
) -> dict[Matrix, Tensor]:
    """Return the summed updates (b, a) of every matrix up to the task at `last`; empty for -1."""
    deltas: dict[Matrix, Tensor] = {}
    if last < 0:
        return deltas
    for matrix in adapted_matrices(method_config(run, InfLoraConfig), backbone.facts.blocks):
        a, b = module_factors(state, matrix, last)
        deltas[matrix] = composed_delta(a, b, a[0].new_ones(last + 1), 1.0)
    return deltas


def module_factors(state: State, matrix: Matrix, last: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return A_i (r, a), shared in a layer, and B_i (b, r), up to the task at `last`."""
    block, module = layer_of(matrix)
    return (
        [state[f"lora.{i}.{block}.{module}.A"] for i in range(last + 1)],
        [state[f"lora.{i}.{matrix}.B"] for i in range(last + 1)],
    )
