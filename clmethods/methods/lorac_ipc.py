"""LoRAC-IPC (arXiv 2504.13407): orthogonal LoRA composition with frozen critical matrices.

State, by name (M matrices in the order of `adapted_matrices`, t = position of the task):

    lora.t.BLOCK.SITE.A / .B   factors of the module that task t trained, absent if frozen
    omega.t                    (M, t + 1) bank row: module weights in force at the end of task t
    frozen.t                   (M,) flags in force while task t trained
    trace.t                    (steps, M) importance of the last steps: evidence for task t + 1
    head.weight, head.bias     the classifier
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from clmethods.config.freezing import matrices_per_task
from clmethods.config.keys import StageSpec
from clmethods.config.methods import LoracIpcConfig
from clmethods.config.run import RunConfig
from clmethods.data.streams import TaskData
from clmethods.methods.base import LowRank, Method, MethodReport, ParamGroup, Predictor, State
from clmethods.methods.composition import Composition
from clmethods.methods.lora import count, fresh_factors, head_delta, merged_predictor, task_head
from clmethods.methods.matrix_report import matrix_reports
from clmethods.nn.adapted import (
    Matrix,
    adapted_matrices,
    adapted_network,
    composed_layers,
)
from clmethods.nn.backbone import SITE_SLOTS, FrozenBackbone, features
from clmethods.nn.importance import ImportanceTrace, freeze_top, importance_scores
from clmethods.nn.lora import SiteAdapter
from clmethods.nn.orthogonality import GramPenalty, orthogonality_residual


@final
class LoracIpc(Method):
    """Every part can be off: module weights, penalty, freezing."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.config = lorac_config(run)
        self.matrices = adapted_matrices(self.config, backbone.facts.blocks)
        self.composition = Composition(self.config, self.matrices, state)
        self.frozen = frozen_before(self.config, state, stage.position, len(self.matrices))
        self.adapters = self._open_adapters()
        frozen = [m for m, f in zip(self.matrices, self.frozen.tolist(), strict=True) if f]
        merged = self.composition.deltas(stage.position - 1, frozen)
        self.network = adapted_network(backbone, self.adapters, merged)
        self.head = task_head(self)
        self.penalty = self._penalty()
        self.trace = self._watch()

    def parameter_groups(self) -> list[ParamGroup]:
        factors: list[nn.Parameter] = [p for m in self.adapters.values() for p in (m.a, m.b)]
        groups = [ParamGroup([*factors, self.head.weight, self.head.bias])]
        if self.stage.position > 0 and self.config.module_weights == "learned" and self.adapters:
            omegas = [adapter.omega for adapter in self.adapters.values()]
            groups.append(ParamGroup(omegas, self.config.omega_lr_scale))
        return groups

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        terms = {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}
        if self.penalty is not None:
            terms["orthogonality"] = self.config.ortho_lambda * self.penalty()
        return terms

    def after_backward(self) -> None:
        self.trace.end_step()

    def end_task(self, data: TaskData) -> State:
        position = self.stage.position
        delta = head_delta(self.head)
        bank = self._tensor_of_ones(position + 1)
        if position > 0:
            bank[:, :position] = self.state[f"omega.{position - 1}"]  # what frozen matrices repeat
        for index, matrix in enumerate(self.matrices):
            if matrix not in self.adapters:
                continue
            adapter = self.adapters[matrix]
            delta[f"lora.{position}.{matrix}.A"] = adapter.a.detach().clone()
            delta[f"lora.{position}.{matrix}.B"] = adapter.b.detach().clone()
            if position > 0:
                bank[index, :position] = adapter.omega.detach()
        delta[f"omega.{position}"] = bank
        delta[f"frozen.{position}"] = self.frozen
        delta[f"trace.{position}"] = self.trace.tensor()
        return delta

    def report(self, state: State) -> MethodReport:
        return MethodReport(
            trainable_parameters=count(self),
            frozen_count=int(self.frozen.sum()),
            ortho_residual_max=self._residual(),
            matrices=matrix_reports(self.backbone, self.composition.over(state), self.stage),
        )

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        config = lorac_config(run)
        matrices = adapted_matrices(config, backbone.facts.blocks)
        deltas = Composition(config, matrices, state).deltas(snapshot, matrices)
        return merged_predictor(backbone, deltas, state)

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        config = lorac_config(run)
        matrices = adapted_matrices(config, backbone.facts.blocks)
        return Composition(config, matrices, state).low_rank(snapshot)

    def _open_adapters(self) -> dict[Matrix, SiteAdapter]:
        """A fresh module on top of the earlier ones, for every matrix that is not frozen."""
        position, config = self.stage.position, self.config
        adapters: dict[Matrix, SiteAdapter] = {}
        for index, matrix in enumerate(self.matrices):
            if self.frozen[index]:
                continue
            a, b = fresh_factors(self, matrix, config.rank)
            adapters[matrix] = SiteAdapter(
                a,
                b,
                self.composition.scale,
                past=self.composition.factors(matrix, position - 1),
                omega=self.state[f"omega.{position - 1}"][index] if position > 0 else None,
                learn_omega=config.module_weights == "learned",
            )
        return adapters

    def _penalty(self) -> GramPenalty | None:
        if self.config.ortho_mode == "none" or self.config.ortho_lambda == 0 or not self.adapters:
            return None
        modules = list(self.adapters.values())
        return GramPenalty(
            [module.a for module in modules],
            [module.past_a if module.past else None for module in modules],  # type: ignore[misc]
        )

    def _watch(self) -> ImportanceTrace:
        every, window = self.config.traces(self.run.context)
        trace = ImportanceTrace(
            len(self.matrices), every, window, self.backbone.dtype, self.backbone.device
        )
        columns = {matrix: index for index, matrix in enumerate(self.matrices)}
        for (block, name), layer in composed_layers(self.network).items():
            parts = {
                slot.part: columns[Matrix(block, site)]
                for site, slot in SITE_SLOTS.items()
                if slot.module == name and Matrix(block, site) in self.adapters
            }
            trace.watch(layer, parts)
        return trace

    def _residual(self) -> float | None:
        """Largest cosine between a new module and an earlier one; None at the first task."""
        modules = [module for module in self.adapters.values() if module.past]
        if not modules:
            return None
        return max(orthogonality_residual(m.a.detach(), m.past_a) for m in modules)  # type: ignore[arg-type]

    def _tensor_of_ones(self, modules: int) -> Tensor:
        return torch.ones(
            len(self.matrices), modules, dtype=self.backbone.dtype, device=self.backbone.device
        )


def lorac_config(run: RunConfig) -> LoracIpcConfig:
    """The method's configuration, which must be LoRAC-IPC's."""
    if not isinstance(run.method, LoracIpcConfig):
        raise TypeError(f"expected lorac_ipc, got {run.method.kind}")
    return run.method


def frozen_before(config: LoracIpcConfig, state: State, position: int, matrices: int) -> Tensor:
    """(M,) flags in force while the task at `position` trains.

    The previous task left the evidence; the decision is taken here, so that all thresholds share
    the first stage. Masks only grow.
    """
    if position == 0:
        return torch.zeros(matrices, dtype=torch.bool)
    before = state[f"frozen.{position - 1}"]
    k = matrices_per_task(config.importance_threshold, matrices)
    if k == 0:
        return before.clone()
    scores = importance_scores(state[f"trace.{position - 1}"], config.ipc_beta1, config.ipc_beta2)
    return freeze_top(scores.cpu(), before, k)
