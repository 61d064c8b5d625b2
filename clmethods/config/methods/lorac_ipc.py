"""Hyperparameters of LoRAC-IPC and their constraints."""

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
"""Largest total weight of samples outside the window in a moving average."""

CURRENT_WEIGHTS = ("ones", "learned", "learned_pull", "decayed", "live")
"""Values of `module_weights` that support `omega_current`. With `ones` it has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoracIpcConfig(LoraFields):
    """LoRAC-IPC (arXiv 2504.13407): composed LoRA, orthogonality, important-parameter constraints.

    Each component can be disabled: `module_weights: ones`, `ortho_mode: none`,
    `importance_threshold: 0`.
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
    """Weights of the modules of earlier tasks. `ones`: constant 1; `learned`: learned, and stored
    in a bank after each task; `learned_pull`: learned, with a penalty on the distance to the bank;
    `decayed`: decayed at every task boundary, then learned; `normalised`: learned with a constant
    sum; `direction_magnitude`: learned as the norm of a normalized module; `live`: learned without
    a bank, so that every snapshot uses the newest weights."""
    omega_lr_scale: float = 0.1
    """Ratio of the learning rate of the module weights to that of the adapters."""
    omega_pull: float = 0.01
    """Weight of the penalty of `learned_pull`, the squared distance to the weights after the
    previous task."""
    omega_decay: float = 0.95
    """Factor of `decayed` on all module weights at every task boundary; 1 equals `learned`."""
    omega_share: Share = "matrix"
    """Sharing of module weights: one weight per earlier task and matrix, block or site, or one for
    the whole task. A matrix keeps its weights when it freezes; the others continue to share."""
    omega_current: bool = False
    """True if the module of the current task has a learned weight too, as in the paper's figure;
    else its weight is 1 until the next task, as in the public code."""
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
    """Orthogonality of modules. Penalties on the stacked A of all modules: `gram`, the norm
    || A A^T - I ||_F, not squared; `gram_sq`, its square divided by the number of rows; `cross`,
    the sum of || A_i A_t^T ||_F^2 over earlier tasks i; `cross_l1`, the sum of the absolute values
    of the entries of A_i A_t^T; `qr`, the norm (2 sum || Q_i Q_t^T ||_F^2)^(1/2) with orthonormal
    bases Q of the modules, as in the paper. Exact modes: `project`, a projection after each step;
    `reparam_qr` and `reparam_torch`, A as the orthonormal factor of a free matrix or of
    Householder reflections; `fixed_basis`, a random orthonormal A that is not trained."""
    ortho_lambda: float = 1.0
    """Weight of the orthogonality penalty."""
    importance_threshold: float = 0.05
    """Fraction of all adapted matrices that is frozen after each task."""
    ipc_relative: bool = False
    """True if the threshold is a fraction of the matrices that are not frozen yet."""
    ipc_round: Rounding = "floor"
    """Rounding of that fraction to a number of matrices. `nearest` rounds halves up."""
    ipc_target: Literal["effective", "delta", "current", "factors"] = "effective"
    """Matrix whose importance is measured. `effective`: the effective weight W + delta; `delta`:
    the composed delta; `current`: B A of the current module; `factors`: the entries of its factors
    A and B, each averaged over time."""
    ipc_reducer: Literal["mean", "sum", "l2"] = "mean"
    """Reduction of the entries of a matrix to one number."""
    ipc_stat: Statistic = "product"
    """Score of a matrix. `product`: sensitivity times uncertainty; `sensitivity` or `uncertainty`
    alone; `ema_unbiased`: the product of averages without the bias of the initial 0;
    `epoch_mean`: the mean importance in the last epoch of the task."""
    ipc_selector: Selector = "importance"
    """Selection of the matrices to freeze: the most important (`importance`), the least important
    (`inverse`), random ones, those of the first or last blocks, or those with the largest mean
    |delta| (`magnitude`)."""
    ipc_scope: Literal["global", "per_site", "per_block"] = "global"
    """Groups for the selection: all matrices together, or equal numbers from each site or block.
    The remainder of the division is selected from all matrices."""
    ipc_beta1: float = 0.85
    """Decay of the moving average of the sensitivity."""
    ipc_beta2: float = 0.85
    """Decay of the moving average of the uncertainty."""
    ipc_every: int = 1
    """Number of steps between two importance samples."""
    ipc_window: int = 300
    """Number of importance samples that are kept, the last ones of a task. Older samples must have
    negligible weight in the moving averages."""

    def __post_init__(self) -> None:
        betas = (("ipc_beta1", self.ipc_beta1), ("ipc_beta2", self.ipc_beta2))
        used = {name for name, _ in betas[: lorac_effect.AVERAGES[self.ipc_stat]]}
        issues = [
            *self.lora_issues(),
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
                "Modules of different norm cannot share a weight that is their norm.",
            ),
            require(
                not self.omega_current or self.module_weights in CURRENT_WEIGHTS,
                "omega_current",
                self.omega_current,
                f"false with module_weights: {self.module_weights}",
                f"It requires module_weights: {', '.join(CURRENT_WEIGHTS[1:-1])} or "
                f"{CURRENT_WEIGHTS[-1]}.",
            ),
            require(self.ortho_lambda >= 0, "ortho_lambda", self.ortho_lambda, "0 or more"),
            require(
                0.0 <= self.importance_threshold <= 1.0,
                "importance_threshold",
                self.importance_threshold,
                "from 0 to 1",
                "It is a fraction of the matrices, not a score.",
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
                "With 0, the uncertainty and therefore every score is 0.",
            ),
            require(self.ipc_every >= 1, "ipc_every", self.ipc_every, "1 or more"),
            require(self.ipc_window >= 1, "ipc_window", self.ipc_window, "1 or more"),
            *(
                require(
                    not 0.0 < beta < 1.0 or beta ** max(self.ipc_window, 1) <= WINDOW_TOLERANCE,
                    "ipc_window",
                    self.ipc_window,
                    f"a window with {name}**ipc_window at most {WINDOW_TOLERANCE}, here with "
                    f"{name}={beta}",
                    "Older samples would still have weight in the moving average. "
                    f"Raise ipc_window or lower {name}.",
                )
                for name, beta in betas
                if name in used and self.ipc_target != "factors"  # averaged without a window
            ),
        ]
        refuse(issues)

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act at `position`; see `lorac_effect.effect`."""
        return lorac_effect.effect(self, position, context)

    def forecast(self, context: EffectContext) -> tuple[int, ...]:
        """Return the number of frozen matrices while each task is trained."""
        return frozen_forecast(
            self.importance_threshold,
            self.matrices(context.blocks),
            context.tasks,
            self.ipc_round,
            relative=self.ipc_relative,
        )

    def trace_settings(self, context: EffectContext) -> TraceSettings:
        """Return the settings of the importance trace; the defaults if the trace is never used.

        A run that freezes no matrices, or does not select them by importance, does not use its
        trace. It stores a trace with default settings, so that it shares stages with other runs.
        """
        used = self.forecast(context)[-1] > 0 and self.ipc_selector in EVIDENCE_SELECTORS
        return TraceSettings.of(self) if used else DEFAULT_TRACE

    def issues_in(self, context: EffectContext) -> list[ConfigIssue | None]:
        """Return an issue if a matrix has too few dimensions for orthogonal modules.

        Exact orthogonality needs T * r dimensions, a QR decomposition needs r dimensions.
        """
        issues = LoraFields.issues_in(self, context) if self.trains_a_init else []
        setting = f"ortho_mode: {self.ortho_mode}"
        if self.ortho_mode in HARD_ORTHOGONALITY:
            issues.append(self.capacity_issue(context, context.tasks, setting))
        if self.ortho_mode == "qr":
            issues.append(self.capacity_issue(context, 1, setting))
        return issues

    @property
    def moves_snapshots(self) -> bool:
        """True with `live` weights, because every snapshot then uses the newest weights."""
        return self.module_weights == "live"

    @property
    def trains_a_init(self) -> bool:
        """True if `a_init` initializes A; two of the exact modes have their own initialization."""
        return self.ortho_mode not in {"reparam_torch", "fixed_basis"}

    def warnings_in(self, context: EffectContext) -> list[str]:
        """Return warnings about a penalty above 0 and about freezing no or all matrices."""
        total = self.matrices(context.blocks)
        if total == 0:
            return []
        warnings: list[str] = []
        site, fan_in = self.smallest_fan_in(context)
        if (
            self.ortho_mode in SOFT_ORTHOGONALITY
            and self.ortho_lambda > 0
            and context.tasks * self.rank > fan_in
        ):
            warnings.append(
                f"method.rank: {context.tasks} modules of rank {self.rank} cannot all be "
                f"orthogonal at site {site!r}, whose fan-in is {fan_in}; the penalty of "
                f"ortho_mode: {self.ortho_mode} cannot reach 0 there."
            )
        k = matrices_per_task(self.importance_threshold, total, self.ipc_round)
        if self.importance_threshold > 0 and k == 0:
            warnings.append(
                f"method.importance_threshold: {self.importance_threshold} of {total} matrices "
                f"is rounded to 0 (ipc_round: {self.ipc_round}), so no matrix is ever frozen."
            )
        forecast = self.forecast(context)
        if forecast[-1] == total:
            warnings.append(
                f"method.importance_threshold: with {self.importance_threshold}, all {total} "
                f"matrices are frozen from task {forecast.index(total) + 1} of {context.tasks} "
                "on; later tasks train only the head."
            )
        return warnings


DEFAULT_TRACE = TraceSettings.of(LoracIpcConfig())
"""Settings of the importance trace of runs that do not use it."""
