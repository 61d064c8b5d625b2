"""LoRAC-IPC (arXiv 2504.13407): orthogonal LoRA composition with frozen critical matrices.

State, by name (M matrices in the order of `adapted_matrices`, t = position of the task):

    lora.t.BLOCK.SITE.A / .B   factors of the module that task t trained, absent if frozen
    omega.t                    (M, t + 1) bank row: module weights in force at the end of task t
    frozen.t                   (M,) flags in force while task t trained
    trace.t                    (steps, M) importance of the last steps, used by task t + 1;
                               (1, M) scores for the importance of factors
    live                       (M, t + 1) newest module weights, if all snapshots use them
    head.weight, head.bias     the classifier
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from clmethods.config.keys import StageSpec
from clmethods.config.methods import LoracIpcConfig
from clmethods.config.methods.lorac_effect import pull_weight
from clmethods.config.methods.lorac_fields import ACROSS_TASKS, SOFT_ORTHOGONALITY
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
from clmethods.methods.composition import LIVE, Composition
from clmethods.methods.lora import count, head_delta, merged_predictor, task_head
from clmethods.methods.lorac_freezing import (
    frozen_before,
    refuse_short_window,
    task_images,
)
from clmethods.methods.lorac_modules import open_adapters
from clmethods.methods.matrix_report import matrix_reports
from clmethods.nn.adapted_networks import (
    Matrix,
    adapted_matrices,
    adapted_network,
    composed_layers,
)
from clmethods.nn.backbone import SITE_SLOTS, FrozenBackbone, features
from clmethods.nn.importance import ImportanceTrace
from clmethods.nn.lora import SiteAdapter
from clmethods.nn.orthogonality import Penalty, QrPenalty, orthogonality_residual, penalty_of
from clmethods.nn.subspace import project_off, row_basis


@final
class LoracIpc(Method):
    """LoRAC-IPC; module weights, orthogonality penalty and freezing can each be disabled."""

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.config = method_config(run, LoracIpcConfig)
        self.matrices = adapted_matrices(self.config, backbone.facts.blocks)
        self.composition = Composition(self.config, self.matrices, state)
        drawn = self.generator("freeze")
        refuse_short_window(run, stage.position)
        self.frozen = frozen_before(run, self.composition, stage.position, drawn)
        flags = list(zip(self.matrices, self.frozen.tolist(), strict=True))
        free = [matrix for matrix, frozen in flags if not frozen]
        self.adapters = open_adapters(self, self.config, self.composition, free)
        merged = self.composition.deltas(stage.position - 1, [m for m, f in flags if f])
        self.network = adapted_network(backbone, self.adapters, merged)
        self.head = task_head(self)
        self.penalty = self._penalty()
        self.pull = pull_weight(self.config) if stage.position > 0 and free else 0.0
        self.trace = self._watch()
        self._past_bases = self._bases_to_avoid()

    def begin_task(self, data: TaskData) -> None:
        train = self.run.train
        self.trace.expect(train.epochs * -(-len(data) // train.batch_size))

    def parameter_groups(self) -> list[ParamGroup]:
        factors: list[nn.Parameter] = [
            parameter
            for adapter in self.adapters.values()
            for parameter in adapter.factor_parameters()
        ]
        groups = [ParamGroup([*factors, self.head.weight, self.head.bias])]
        shared = {a.weights: None for a in self.adapters.values() if a.weights is not None}
        omegas = [weights.value for weights in shared if weights.value.requires_grad]
        if omegas:
            groups.append(ParamGroup(omegas, self.config.omega_lr_scale))
        return groups

    def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        terms = {"cross_entropy": self.head.cross_entropy(features(self.network, pixels), labels)}
        if self.penalty is not None:
            terms["orthogonality"] = self.config.ortho_lambda * self.penalty()
        if self.pull > 0:
            terms["omega_pull"] = self.pull * self._distance_to_bank()
        return terms

    def after_backward(self) -> None:
        self.trace.end_step()

    @torch.no_grad()
    def after_step(self) -> None:
        for adapter, basis in self._past_bases:
            adapter.a.copy_(project_off(adapter.a, basis))

    def end_task(self, data: TaskData) -> State:
        position = self.stage.position
        delta = head_delta(self.head)
        bank = self._tensor_of_ones(position + 1)
        if position > 0:
            bank[:, :position] = self.state[f"omega.{position - 1}"]  # kept if frozen
        for index, matrix in enumerate(self.matrices):
            if matrix not in self.adapters:
                continue
            adapter = self.adapters[matrix]
            delta[f"lora.{position}.{matrix}.A"] = adapter.a.detach().clone()
            delta[f"lora.{position}.{matrix}.B"] = adapter.b.detach().clone()
            if adapter.weights is not None:
                omega = adapter.weights().detach()
                bank[index, : len(omega)] = omega
        delta[f"omega.{position}"] = bank
        if position > 0 and self.adapters and self.config.module_weights == "live":
            delta[LIVE] = bank.clone()
        delta[f"frozen.{position}"] = self.frozen
        delta[f"trace.{position}"] = self.trace.tensor()
        return delta

    def report(self, state: State) -> MethodReport:
        return MethodReport(
            trainable_parameters=count(self),
            frozen_count=int(self.frozen.sum()),
            ortho_residual_max=self._residual(),
            ortho_fallbacks=self.penalty.fallbacks if isinstance(self.penalty, QrPenalty) else 0,
            matrices=matrix_reports(
                self.backbone,
                self.composition.over(state),
                self.stage,
                scored=self.trace.settings.target == "factors",
            ),
        )

    @classmethod
    def predictor(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> Predictor:
        composition = _composition(run, backbone, state, position, snapshot)
        deltas = composition.deltas(snapshot, composition.matrices)
        return merged_predictor(backbone, deltas, state)

    @classmethod
    def low_rank(
        cls, run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
    ) -> LowRank | None:
        return _composition(run, backbone, state, position, snapshot).low_rank(snapshot)

    def _penalty(self) -> Penalty | None:
        mode, first = self.config.ortho_mode, self.stage.position == 0
        if mode not in SOFT_ORTHOGONALITY or self.config.ortho_lambda == 0 or not self.adapters:
            return None
        if first and mode in ACROSS_TASKS:
            return None
        modules = list(self.adapters.values())
        return penalty_of(
            mode,
            [module.a for module in modules],
            [module.past_a if module.past else None for module in modules],  # type: ignore[misc]
        )

    def _bases_to_avoid(self) -> list[tuple[SiteAdapter, Tensor]]:
        """Return the bases that `project` removes from A after every step, if any."""
        if self.config.ortho_mode != "project":
            return []
        return [(m, row_basis(m.past_a)) for m in self.adapters.values() if m.past]  # type: ignore[arg-type]

    def _distance_to_bank(self) -> Tensor:
        """Return the sum over free matrices and earlier modules of (omega - Omega[t - 1])^2."""
        position = self.stage.position
        squares = [
            (a.weights()[:position] - self.composition.bank(matrix, position - 1)).square().sum()
            for matrix, a in self.adapters.items()
            if a.weights is not None
        ]
        return torch.stack(squares).sum()

    def _watch(self) -> ImportanceTrace:
        settings = self.config.trace_settings(self.run.context)
        trace = ImportanceTrace(
            len(self.matrices),
            settings,
            self.backbone.dtype,
            self.backbone.device,
            self._last_epoch() if settings.scores_last_epoch else lambda step: True,
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

    def _last_epoch(self) -> Callable[[int], bool]:
        """Return a predicate that is True for the steps, counted from 0, of the last epoch."""
        train = self.run.train
        steps = -(-task_images(self.run, self.stage.position) // train.batch_size)
        return lambda step: step >= (train.epochs - 1) * steps

    def _residual(self) -> float | None:
        """Return the largest cosine between a new module and an earlier one, if any."""
        modules = [module for module in self.adapters.values() if module.past]
        if not modules:
            return None
        return max(orthogonality_residual(m.a.detach(), m.past_a) for m in modules)  # type: ignore[arg-type]

    def _tensor_of_ones(self, modules: int) -> Tensor:
        return torch.ones(
            len(self.matrices), modules, dtype=self.backbone.dtype, device=self.backbone.device
        )


def _composition(
    run: RunConfig, backbone: FrozenBackbone, state: State, position: int, snapshot: int
) -> Composition:
    """Return the composition for snapshots of the network after the task at `position`."""
    config = method_config(run, LoracIpcConfig)
    composition = Composition(config, adapted_matrices(config, backbone.facts.blocks), state)
    # The last snapshot uses its own row of the bank, even if a later state is queried for the
    # network after the task at `position`. Routing by its features does this.
    return composition.without_live_weights() if snapshot == position else composition
