"""Hyperparameters of LoRAC-IPC, and the laws they obey; what acts when is in `lorac_effect.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods import lorac_effect
from clmethods.config.methods.fields import Effect, EffectContext, LoraFields
from clmethods.config.methods.freezing_forecast import Rounding, frozen_forecast, matrices_per_task
from clmethods.config.methods.lorac_effect import (
    EVIDENCE_SELECTORS,
    HARD_ORTHOGONALITY,
    SOFT_ORTHOGONALITY,
    Selector,
    Share,
    Statistic,
    TraceSettings,
)
from clmethods.errors import ConfigIssue, refuse, require

WINDOW_TOLERANCE = 1e-6
"""Largest weight that a moving average may still give to the samples that were not kept."""

CURRENT_WEIGHTS = ("ones", "learned", "learned_pull", "decayed", "live")
"""Schemes of module weights that can weigh the current module too (constant ones do not)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoracIpcConfig(LoraFields):
    """LoRAC-IPC (arXiv 2504.13407): composed LoRA, orthogonality, important-parameter constraints.

    Every part can be off: `module_weights: ones`, `ortho_mode: none`, `importance_threshold: 0`.
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["lorac_ipc"] = "lorac_ipc"
    module_weights: Literal[
        "ones",
        "learned",
        "learned_pull",
        "decayed",
        "normalised",
        "direction_magnitude",
        "live",
    ] = "learned"
    """Weights of earlier tasks' modules: constant 1; learned and kept in a bank per task; learned
    and pulled towards the bank; decayed at every boundary, then learned; learned with a constant
    sum; learned as the norm of a normalised module; learned without a bank, so that every
    snapshot reads the newest weights."""
    omega_lr_scale: float = 0.1
    """Learning rate of the module weights over that of the adapters."""
    omega_pull: float = 0.01
    """`learned_pull`: weight of the squared distance to the weights of the task before."""
    omega_decay: float = 0.95
    """`decayed`: factor on all module weights at every task boundary; 1 is `learned`."""
    omega_share: Share = "matrix"
    """One weight per earlier task and matrix, block or site, or one for the whole task. A frozen
    matrix keeps the weights it had; what it shared goes on for the others."""
    omega_current: bool = False
    """Whether the module of the task in training has a learned weight too, as the paper draws it;
    else it weighs 1 until the next task, as in the public code."""
    ortho_mode: Literal[
        "none",
        "gram",
        "gram_sq",
        "cross",
        "cross_l1",
        "qr",
        "project",
        "reparam_qr",
        "reparam_torch",
        "fixed_basis",
    ] = "gram"
    """Penalties, with all modules' A stacked: `gram` || A A^T - I ||_F, not squared; `gram_sq`
    squared, over the number of rows; `cross` sum || A_i A_t^T ||_F^2 over earlier tasks i;
    `cross_l1` the sum of its entries' sizes; `qr` the same norm between orthonormal bases, the
    paper's. Exact: `project` after each step; `reparam_qr` and `reparam_torch`, A as the
    orthonormal factor of a free matrix or of Householder reflections; `fixed_basis`, A drawn
    orthonormal and never trained."""
    ortho_lambda: float = 1.0
    """Weight of the orthogonality penalty."""
    importance_threshold: float = 0.05
    """Fraction of all adapted matrices that each finished task adds to the frozen ones."""
    ipc_relative: bool = False
    """Whether the threshold is a fraction of the matrices that are not frozen yet."""
    ipc_round: Rounding = "floor"
    """How that fraction becomes a number of matrices; halves are rounded up by `nearest`."""
    ipc_target: Literal["effective", "delta", "current", "factors"] = "effective"
    """What importance is measured on: the effective weight W + delta; the composed delta; the
    current module's B A; or the entries of its factors, averaged over time one by one."""
    ipc_reducer: Literal["mean", "sum", "l2"] = "mean"
    """How the entries of a matrix become one number."""
    ipc_stat: Statistic = "product"
    """Score of a matrix: sensitivity times uncertainty; either alone; the product without the bias
    of averages that start at 0; or the mean importance of the task's last epoch."""
    ipc_selector: Selector = "importance"
    """Which matrices freeze: the most or the least important, random ones, those of the first or
    last blocks, or those with the largest mean |delta|."""
    ipc_scope: Literal["global", "per_site", "per_block"] = "global"
    """Matrices compete all together, or each site or block gives an equal share; what does not
    divide evenly goes to the best of all."""
    ipc_beta1: float = 0.85
    """Decay of the moving average of the sensitivity."""
    ipc_beta2: float = 0.85
    """Decay of the moving average of the uncertainty."""
    ipc_every: int = 1
    """Importance is sampled every so many steps."""
    ipc_window: int = 300
    """How many of a task's last samples are kept; the averages must have forgotten older ones."""

    def __post_init__(self) -> None:
        betas = (("ipc_beta1", self.ipc_beta1), ("ipc_beta2", self.ipc_beta2))
        used = {name for name, _ in betas[: lorac_effect.AVERAGES[self.ipc_stat]]}
        issues = [
            *self.lora_faults(),
            require(self.omega_lr_scale >= 0, "omega_lr_scale", self.omega_lr_scale, "0 or more"),
            require(self.omega_pull >= 0, "omega_pull", self.omega_pull, "0 or more"),
            require(
                0.0 < self.omega_decay <= 1.0,
                "omega_decay",
                self.omega_decay,
                "greater than 0, at most 1",
            ),
            require(
                self.omega_share == "matrix" or self.module_weights != "direction_magnitude",
                "omega_share",
                self.omega_share,
                "matrix with module_weights: direction_magnitude",
                "Matrices whose modules differ in norm cannot share one.",
            ),
            require(
                not self.omega_current or self.module_weights in CURRENT_WEIGHTS,
                "omega_current",
                self.omega_current,
                f"false with module_weights: {self.module_weights}",
                f"It goes with {', '.join(CURRENT_WEIGHTS[1:])}.",
            ),
            require(self.ortho_lambda >= 0, "ortho_lambda", self.ortho_lambda, "0 or more"),
            require(
                0.0 <= self.importance_threshold <= 1.0,
                "importance_threshold",
                self.importance_threshold,
                "from 0 to 1",
                "It is a share of the matrices, not a score.",
            ),
            *(
                require(0.0 <= beta < 1.0, name, beta, "0 or more, below 1")
                for name, beta in betas
            ),
            require(
                self.ipc_beta1 != 0.0 or self.ipc_stat in {"sensitivity", "epoch_mean"},
                "ipc_beta1",
                self.ipc_beta1,
                f"greater than 0 with ipc_stat: {self.ipc_stat}",
                "With 0 the uncertainty, and so every score, is 0.",
            ),
            require(self.ipc_every >= 1, "ipc_every", self.ipc_every, "1 or more"),
            require(self.ipc_window >= 1, "ipc_window", self.ipc_window, "1 or more"),
            *(
                require(
                    not 0.0 < beta < 1.0 or beta ** max(self.ipc_window, 1) <= WINDOW_TOLERANCE,
                    "ipc_window",
                    self.ipc_window,
                    f"enough samples for {name}={beta} to forget older ones "
                    f"({name}**ipc_window at most {WINDOW_TOLERANCE})",
                    f"Raise ipc_window or lower {name}.",
                )
                for name, beta in betas
                if name in used and self.ipc_target != "factors"  # which average as they go
            ),
        ]
        refuse(issues)

    def effect(self, position: int, context: EffectContext) -> Effect:
        """What acts at `position`: a task saves evidence, the next one takes decisions."""
        return lorac_effect.effect(self, position, context)

    def forecast(self, context: EffectContext) -> tuple[int, ...]:
        """Number of frozen matrices in force while each task trains."""
        return frozen_forecast(
            self.importance_threshold,
            self.matrices(context.blocks),
            context.tasks,
            self.ipc_round,
            relative=self.ipc_relative,
        )

    def trace_settings(self, context: EffectContext) -> TraceSettings:
        """What shapes the importance trace; the defaults where nothing ever reads it.

        A run that never freezes, or never by importance, has no use for its trace, so it keeps
        the default one and shares its stages with the runs whose constraint acts later.
        """
        read = self.forecast(context)[-1] > 0 and self.ipc_selector in EVIDENCE_SELECTORS
        return TraceSettings.of(self) if read else DEFAULT_TRACE

    def faults_in(self, context: EffectContext) -> list[ConfigIssue | None]:
        """Capacity: exact orthogonality needs T * r dimensions, a QR decomposition r of them."""
        issues = LoraFields.faults_in(self, context) if self.trains_a_init else []
        setting = f"ortho_mode: {self.ortho_mode}"
        if self.ortho_mode in HARD_ORTHOGONALITY:
            issues.append(self.capacity_fault(context, context.tasks, setting))
        if self.ortho_mode == "qr":
            issues.append(self.capacity_fault(context, 1, setting))
        return issues

    @property
    def moves_snapshots(self) -> bool:
        """With `live` weights every snapshot reads the newest ones."""
        return self.module_weights == "live"

    @property
    def trains_a_init(self) -> bool:
        """Whether A starts from `a_init`; two of the exact modes draw their own start."""
        return self.ortho_mode not in {"reparam_torch", "fixed_basis"}

    def warnings_in(self, context: EffectContext) -> list[str]:
        """A penalty that cannot reach 0; a threshold that freezes nothing, or everything."""
        total = self.matrices(context.blocks)
        if total == 0:
            return []
        found: list[str] = []
        site, room = self.smallest_fan_in(context)
        if (
            self.ortho_mode in SOFT_ORTHOGONALITY
            and self.ortho_lambda > 0
            and context.tasks * self.rank > room
        ):
            found.append(
                f"method.rank: {context.tasks} modules of rank {self.rank} cannot all be "
                f"orthogonal at site {site!r}, whose fan-in is {room}; the penalty of "
                f"ortho_mode: {self.ortho_mode} cannot reach 0 there."
            )
        k = matrices_per_task(self.importance_threshold, total, self.ipc_round)
        if self.importance_threshold > 0 and k == 0:
            found.append(
                f"method.importance_threshold: {self.importance_threshold} of {total} matrices "
                f"is less than one ({self.ipc_round}), so nothing is ever frozen."
            )
        forecast = self.forecast(context)
        if forecast[-1] == total:
            found.append(
                f"method.importance_threshold: with {self.importance_threshold} all {total} "
                f"matrices are frozen from task {forecast.index(total) + 1} of {context.tasks} "
                "on; from there only the head learns."
            )
        return found


DEFAULT_TRACE = TraceSettings.of(LoracIpcConfig())
"""What a run leaves behind whose trace nobody reads."""
