"""One LoRA module per matrix, fine-tuned task by task or trained once on all tasks."""

from __future__ import annotations

from typing import ClassVar, final

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
from clmethods.nn.lora import SiteAdapter, composed_delta


class _SingleLora(Method):
    """Delta = scale * B A per matrix, local cross-entropy, no penalty, no snapshots."""

    ranks: ClassVar[str]
    """Rank of the module: r for `task`, r * T for `all_tasks`."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        tasks = run.stream.tasks if self.ranks == "all_tasks" else 1
        self.adapters = carried_adapters(self, lora_fields(run).rank * tasks)
        self.network = adapted_network(backbone, self.adapters)
        self.head = task_head(self)

    def parameter_groups(self) -> list[ParamGroup]:
        factors: list[nn.Parameter] = [p for m in self.adapters.values() for p in (m.a, m.b)]
        return [ParamGroup([*factors, self.head.weight, self.head.bias])]

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}

    def end_task(self, data: TaskData) -> State:
        factors = {name: p.detach().clone() for name, p in factor_names(self.adapters).items()}
        return head_delta(self.head) | factors

    def report(self, state: State) -> MethodReport:
        return MethodReport(
            trainable_parameters=count(self), matrices=adapter_reports(self.adapters)
        )

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        return merged_predictor(backbone, carried_deltas(run, backbone, state), state)

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        config = lora_fields(run)
        scale = config.lora_alpha / config.rank
        return {
            matrix: (state[f"lora.{matrix}.A"], scale * state[f"lora.{matrix}.B"])
            for matrix in adapted_matrices(config, backbone.facts.blocks)
        }


@final
class LoraSequential(_SingleLora):
    """Control for LoRAC: one module without protection from forgetting (docs/method.md 9.3)."""

    ranks = "task"


@final
class JointLora(_SingleLora):
    """Rank r * T, one stage over all tasks (docs/method.md section 9.2): the upper reference."""

    ranks = "all_tasks"


def carried_adapters(method: Method, rank: int) -> dict[Matrix, SiteAdapter]:
    """Return one module per matrix, from the last task or newly initialized for the first one."""
    config, state = lora_fields(method.run), method.state
    adapters: dict[Matrix, SiteAdapter] = {}
    for matrix in adapted_matrices(config, method.backbone.facts.blocks):
        a, b = state.get(f"lora.{matrix}.A"), state.get(f"lora.{matrix}.B")
        if a is None or b is None:
            a, b = fresh_factors(method, matrix, rank)
        adapters[matrix] = SiteAdapter(a, b, config.lora_alpha / config.rank)
    return adapters


def factor_names(adapters: dict[Matrix, SiteAdapter]) -> dict[str, nn.Parameter]:
    """Return the factors by their names in the state."""
    return {
        f"lora.{matrix}.{factor}": parameter
        for matrix, adapter in adapters.items()
        for factor, parameter in (("A", adapter.a), ("B", adapter.b))
    }


def carried_deltas(run: RunConfig, backbone: FrozenBackbone, state: State) -> dict[Matrix, Tensor]:
    """Return the update (b, a) of every matrix whose module the state contains."""
    config = lora_fields(run)
    deltas: dict[Matrix, Tensor] = {}
    for matrix in adapted_matrices(config, backbone.facts.blocks):
        if f"lora.{matrix}.A" in state:
            a, b = state[f"lora.{matrix}.A"], state[f"lora.{matrix}.B"]
            scale = config.lora_alpha / config.rank
            deltas[matrix] = composed_delta([a], [b], a.new_ones(1), scale)
    return deltas
