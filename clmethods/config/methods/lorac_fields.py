"""Fields of LoRAC-IPC, the values that they may have, and properties of their combinations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clmethods.config.methods.fields import EffectContext, LoraFields
from clmethods.config.methods.freezing_forecast import Rounding, frozen_forecast

Share = Literal["matrix", "block", "site", "task"]
Statistic = Literal["product", "sensitivity", "uncertainty", "ema_unbiased", "epoch_mean"]
Selector = Literal["importance", "inverse", "random", "first_blocks", "last_blocks", "magnitude"]

SOFT_ORTHOGONALITY = ("gram", "gram_sq", "cross", "cross_l1", "qr")
"""Values of `ortho_mode` that add a penalty to the loss."""
HARD_ORTHOGONALITY = ("project", "reparam_qr", "reparam_torch", "fixed_basis")
"""Values of `ortho_mode` with exact orthogonality. They need T * r dimensions in each matrix."""
ACROSS_TASKS = ("cross", "cross_l1", "qr", "project")
"""Values of `ortho_mode` that only affect pairs of modules, and therefore not the first task."""
EVIDENCE_SELECTORS = ("importance", "inverse")
"""Values of `ipc_selector` that use the importance trace."""
AVERAGES: dict[str, int] = {
    "product": 2,
    "sensitivity": 1,
    "uncertainty": 2,
    "ema_unbiased": 2,
    "epoch_mean": 0,
}
"""Number of moving averages that a statistic uses; the second one is computed from the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoracIpcFields(LoraFields):
    """Fields of `LoracIpcConfig`, which adds their constraints and their effect."""

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
    ipc_unobserved: Literal["dense", "thin", "auto"] = "dense"
    """Products of the steps whose importance samples are not kept: with the dense effective
    weight, as in the other steps; thin ones; or, with `auto`, the fastest by shape."""

    def forecast(self, context: EffectContext) -> tuple[int, ...]:
        """Return the number of frozen matrices while each task is trained."""
        return frozen_forecast(
            self.importance_threshold,
            self.matrices(context.blocks),
            context.tasks,
            self.ipc_round,
            relative=self.ipc_relative,
        )

    @property
    def trains_a_init(self) -> bool:
        """True if `a_init` initializes A; two of the exact modes have their own initialization."""
        return self.ortho_mode not in {"reparam_torch", "fixed_basis"}
