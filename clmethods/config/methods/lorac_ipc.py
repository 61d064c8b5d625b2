"""Hyperparameters of LoRAC-IPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.faults import refuse, require
from clmethods.config.freezing import frozen_forecast
from clmethods.config.methods.fields import Effect, EffectContext, LoraFields

WINDOW_TOLERANCE = 1e-6
"""Largest weight that a moving average may still give to the samples that were not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoracIpcConfig(LoraFields):
    """LoRAC-IPC (arXiv 2504.13407): composed LoRA, orthogonality, important-parameter constraints.

    Every part can be off: `module_weights: ones`, `ortho_mode: none`, `importance_threshold: 0`.
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["lorac_ipc"] = "lorac_ipc"
    module_weights: Literal["ones", "learned"] = "learned"
    """Weights of earlier tasks' modules: constant 1, or learned and kept in a bank per task."""
    omega_lr_scale: float = 0.1
    """Learning rate of the module weights over that of the adapters."""
    ortho_mode: Literal["none", "gram"] = "gram"
    """`gram`: sum over matrices of || A A^T - I ||_F, all modules' A stacked, not squared."""
    ortho_lambda: float = 1.0
    """Weight of the orthogonality penalty."""
    importance_threshold: float = 0.05
    """Fraction of all adapted matrices that each finished task adds to the frozen ones."""
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
        faults = [
            *self.lora_faults(),
            require(self.omega_lr_scale >= 0, "omega_lr_scale", self.omega_lr_scale, "0 or more"),
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
                self.ipc_beta1 != 0.0,
                "ipc_beta1",
                self.ipc_beta1,
                "greater than 0",
                "With 0 the uncertainty, and so every score, is 0.",
            ),
            require(self.ipc_every >= 1, "ipc_every", self.ipc_every, "1 or more"),
            *(
                require(
                    not 0.0 < beta < 1.0 or beta**self.ipc_window <= WINDOW_TOLERANCE,
                    "ipc_window",
                    self.ipc_window,
                    f"enough samples for {name}={beta} to forget older ones "
                    f"({name}**ipc_window at most {WINDOW_TOLERANCE})",
                    f"Raise ipc_window or lower {name}.",
                )
                for name, beta in betas
            ),
        ]
        refuse(faults)

    def effect(self, position: int, context: EffectContext) -> Effect:
        """What acts at `position`: a task saves evidence, the next one takes decisions."""
        total = self.matrices(context.blocks)
        frozen = frozen_forecast(self.importance_threshold, total, context.tasks)
        trainable = total - frozen[position]
        acts = self.lora_effect(context)
        if total == 0:
            return acts
        traces = self.traces(context)
        acts["trace"] = {"every": traces[0], "window": traces[1]}
        acts["ortho_lambda"] = (
            self.ortho_lambda if self.ortho_mode != "none" and trainable > 0 else 0.0
        )
        if position == 0:
            return acts
        newly = frozen[position] - frozen[position - 1]
        acts["newly_frozen"] = newly
        if newly > 0 and trainable > 0:  # which ones is a choice only while some are left over
            acts["ipc"] = {"beta1": self.ipc_beta1, "beta2": self.ipc_beta2}
        if trainable > 0:
            acts["module_weights"] = self.module_weights
            if self.module_weights == "learned":
                acts["omega_lr_scale"] = self.omega_lr_scale
        return acts

    def traces(self, context: EffectContext) -> tuple[int, int]:
        """(every, window) of the importance trace; the defaults where nothing is ever frozen.

        A run that never freezes has no use for its trace, so it keeps the default one and shares
        its stages with the runs whose constraint acts later.
        """
        total = self.matrices(context.blocks)
        if frozen_forecast(self.importance_threshold, total, context.tasks)[-1] > 0:
            return self.ipc_every, self.ipc_window
        default = LoracIpcConfig()
        return default.ipc_every, default.ipc_window
