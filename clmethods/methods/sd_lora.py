"""SD-LoRA (arXiv 2501.13198): frozen directions, and a trainable magnitude for every task.

State, by name (t = position of the task):

    lora.t.BLOCK.SITE.A / .B   factors of the module that task t trained
    magnitudes.t               (t + 1,) magnitudes in force at the end of task t
    head.weight, head.bias     the classifier
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clmethods.config.keys import StageSpec
from clmethods.config.methods import SdLoraConfig
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
from clmethods.nn.adapted_networks import Matrix, adapted_matrices, adapted_network
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.lora import Adapter, composed_delta, folded, initial_a


@final
class MagnitudeAdapter(Adapter):
    """Adapter alpha_t B_t A_t + sum_{i<t} alpha_i D_i, where D_i is an earlier module.

    The magnitudes alpha (t + 1,) are one parameter that all matrices share.
    """

    def __init__(
        self, a: Tensor, b: Tensor, past: Sequence[tuple[Tensor, Tensor]], magnitudes: nn.Parameter
    ) -> None:
        """Take initial `a` (r, a) and `b` (b, r); `past` contains factors of every D_i."""
        super().__init__()
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())
        self.magnitudes = magnitudes
        self.register_buffer("past_a", torch.cat([p[0] for p in past] or [a[:0]], dim=0))
        self.register_buffer("past_b", torch.cat([p[1] for p in past] or [b[:, :0]], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (..., b) for an input (..., a)."""
        y = F.linear(F.linear(x, self.a) * self.magnitudes[-1], self.b)
        if len(self.magnitudes) == 1:
            return y
        return y + F.linear(F.linear(x, self.past_a) * self._weights(), self.past_b)  # type: ignore[arg-type]

    def update(self) -> Tensor:
        """Return the weight update (b, a) that `forward` applies, with gradients."""
        current = (self.b * self.magnitudes[-1]) @ self.a
        update: Tensor = current + (self.past_b * self._weights()) @ self.past_a  # type: ignore[operator]
        return update

    def _weights(self) -> Tensor:
        return self.magnitudes[:-1].repeat_interleave(self.a.shape[0])  # (K*r,)


@final
class SdLora(Method):
    """Local cross-entropy only: the published code computes another term but does not add it."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.config = method_config(run, SdLoraConfig)
        self.magnitudes = nn.Parameter(self._first_magnitudes())
        self.adapters = {
            matrix: self._open_adapter(matrix)
            for matrix in adapted_matrices(self.config, backbone.facts.blocks)
        }
        self.network = adapted_network(backbone, self.adapters)
        self.head = task_head(self)

    def parameter_groups(self) -> list[ParamGroup]:
        factors: list[nn.Parameter] = [p for m in self.adapters.values() for p in (m.a, m.b)]
        groups = [ParamGroup([*factors, self.head.weight, self.head.bias])]
        if self.adapters:
            groups.append(ParamGroup([self.magnitudes], self.config.magnitude_lr_scale))
        return groups

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}

    def end_task(self, data: TaskData) -> State:
        delta, position = head_delta(self.head), self.stage.position
        for matrix, adapter in self.adapters.items():
            delta[f"lora.{position}.{matrix}.A"] = adapter.a.detach().clone()
            delta[f"lora.{position}.{matrix}.B"] = adapter.b.detach().clone()
        if self.adapters:
            delta[f"magnitudes.{position}"] = self.magnitudes.detach().clone()
        return delta

    def report(self, state: State) -> MethodReport:
        return MethodReport(
            trainable_parameters=count(self),
            matrices=adapter_reports(self.adapters, self.magnitudes.tolist()),
        )

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        config = method_config(run, SdLoraConfig)
        deltas = {
            matrix: composed_delta(
                *snapshot_factors(config, state, matrix, snapshot),
                state[f"magnitudes.{snapshot}"],
                1.0,
            )
            for matrix in adapted_matrices(config, backbone.facts.blocks)
        }
        return merged_predictor(backbone, deltas, state)

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        config = method_config(run, SdLoraConfig)
        return {
            matrix: folded(
                *snapshot_factors(config, state, matrix, snapshot),
                state[f"magnitudes.{snapshot}"],
                1.0,
            )
            for matrix in adapted_matrices(config, backbone.facts.blocks)
        }

    def _first_magnitudes(self) -> Tensor:
        position, start = self.stage.position, self.config.magnitude_init
        fresh = torch.full((position + 1,), start, dtype=self.backbone.dtype)
        earlier = self.state.get(f"magnitudes.{position - 1}")
        if self.config.sd_carry == "continuous" and earlier is not None:
            fresh[:-1] = earlier
        return fresh.to(self.backbone.device)

    def _open_adapter(self, matrix: Matrix) -> MagnitudeAdapter:
        backbone, config = self.backbone, self.config
        fan_in, fan_out = backbone.facts.fan(matrix.site)
        generator = self.generator("adapter", matrix.block, matrix.site)
        a = initial_a(config.rank, fan_in, config.a_init, generator)
        a = a.to(device=backbone.device, dtype=backbone.dtype)
        past = directions(config, self.state, matrix, self.stage.position)
        return MagnitudeAdapter(a, a.new_zeros(fan_out, config.rank), past, self.magnitudes)


def directions(
    config: SdLoraConfig, state: State, matrix: Matrix, position: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the factors of D_i for the modules before `position`.

    In `ref`, D_i = B_i A_i / (|A_i| |B_i|). In `continuous`, D_i = B_i A_i: one magnitude is
    shared by all matrices, whose norms differ, so the function is continuous at the start of a
    task only if every module keeps its norm.
    """
    factors: list[tuple[Tensor, Tensor]] = []
    for i in range(position):
        a, b = state[f"lora.{i}.{matrix}.A"], state[f"lora.{i}.{matrix}.B"]
        if config.sd_carry == "ref":
            size = torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)
            b = torch.where(size > 0, b / size, b)  # a module that was never updated is 0
        factors.append((a, b))
    return factors


def snapshot_factors(
    config: SdLoraConfig, state: State, matrix: Matrix, snapshot: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Return A_i (r, a) and B_i (b, r) of D_i for a snapshot; its own module is last, unscaled."""
    earlier = directions(config, state, matrix, snapshot)
    name = f"lora.{snapshot}.{matrix}"
    last = (state[f"{name}.A"], state[f"{name}.B"])
    return [a for a, _ in (*earlier, last)], [b for _, b in (*earlier, last)]
