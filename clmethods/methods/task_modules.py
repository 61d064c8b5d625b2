"""New LoRA module per task in addition to the frozen sum of the earlier ones.

Base of LoRA-merge and O-LoRA. Earlier modules are merged into the weights during training, but
stored as factors, so that the state remains low-rank and every snapshot can be restored. State:

    lora.t.BLOCK.SITE.A / .B   factors of the module that task t trained
    head.weight, head.bias     the classifier
"""

from __future__ import annotations

from torch import Tensor, nn

from clmethods.config.keys import StageSpec
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import LowRank, Method, MethodReport, ParamGroup, Predictor, State
from clmethods.methods.lora import (
    adapter_reports,
    count,
    fresh_factors,
    head_delta,
    lora_fields,
    merged_predictor,
    task_head,
)
from clmethods.nn.adapted_networks import Matrix, adapted_matrices, adapted_network
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.lora import SiteAdapter, composed_delta, folded
from clmethods.nn.orthogonality import orthogonality_residual


class TaskModules(Method):
    """Delta(t) = scale * ( sum_{i<t} B_i A_i + B_t A_t ), local cross-entropy."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        config = lora_fields(run)
        scale = config.lora_alpha / config.rank
        self.adapters = {
            matrix: SiteAdapter(*fresh_factors(self, matrix, config.rank), scale)
            for matrix in adapted_matrices(config, backbone.facts.blocks)
        }
        merged = summed_deltas(run, backbone, state, stage.position - 1)
        self.network = adapted_network(backbone, self.adapters, merged)
        self.head = task_head(self)

    def extra_terms(self) -> dict[str, Tensor]:
        """Return loss terms in addition to the cross-entropy."""
        return {}

    def past(self, matrix: Matrix) -> list[Tensor]:
        """Return A (r, a) of every earlier module of a matrix."""
        return [self.state[f"lora.{i}.{matrix}.A"] for i in range(self.stage.position)]

    def parameter_groups(self) -> list[ParamGroup]:
        factors: list[nn.Parameter] = [p for m in self.adapters.values() for p in (m.a, m.b)]
        return [ParamGroup([*factors, self.head.weight, self.head.bias])]

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        terms = {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}
        return terms | self.extra_terms()

    def end_task(self, data: TaskData) -> State:
        delta = head_delta(self.head)
        for matrix, adapter in self.adapters.items():
            name = f"lora.{self.stage.position}.{matrix}"
            delta |= {f"{name}.A": adapter.a.detach().clone()}
            delta |= {f"{name}.B": adapter.b.detach().clone()}
        return delta

    def report(self, state: State) -> MethodReport:
        cosines = [
            orthogonality_residual(adapter.a.detach(), past)
            for matrix, adapter in self.adapters.items()
            for past in self.past(matrix)
        ]
        return MethodReport(
            trainable_parameters=count(self),
            ortho_residual_max=max(cosines, default=None),
            matrices=adapter_reports(self.adapters),
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
        config = lora_fields(run)
        scale = config.lora_alpha / config.rank
        updates: dict[Matrix, tuple[Tensor, Tensor]] = {}
        for matrix in adapted_matrices(config, backbone.facts.blocks):
            a, b = module_factors(state, matrix, snapshot)
            updates[matrix] = folded(a, b, a[0].new_ones(len(a)), scale)
        return updates


def summed_deltas(
    run: RunConfig, backbone: FrozenBackbone, state: State, last: int
) -> dict[Matrix, Tensor]:
    """Return the summed updates (b, a) of every matrix up to the task at `last`; empty for -1."""
    config = lora_fields(run)
    deltas: dict[Matrix, Tensor] = {}
    for matrix in adapted_matrices(config, backbone.facts.blocks) if last >= 0 else ():
        a, b = module_factors(state, matrix, last)
        weights = a[0].new_ones(last + 1)
        deltas[matrix] = composed_delta(a, b, weights, config.lora_alpha / config.rank)
    return deltas


def module_factors(state: State, matrix: Matrix, last: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return A_i (r, a) and B_i (b, r) of a matrix, for every task up to the one at `last`."""
    names = [f"lora.{i}.{matrix}" for i in range(last + 1)]
    return [state[f"{name}.A"] for name in names], [state[f"{name}.B"] for name in names]
