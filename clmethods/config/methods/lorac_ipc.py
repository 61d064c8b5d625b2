"""Hyperparameters of LoRAC-IPC and their constraints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from clmethods.config.methods import lorac_effect
from clmethods.config.methods.fields import Effect, EffectContext
from clmethods.config.methods.freezing_forecast import matrices_per_task
from clmethods.config.methods.lorac_effect import TraceSettings
from clmethods.config.methods.lorac_fields import (
    AVERAGES,
    EVIDENCE_SELECTORS,
    HARD_ORTHOGONALITY,
    SOFT_ORTHOGONALITY,
    LoracIpcFields,
)
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes, Size, head
from clmethods.errors import ConfigIssue, refuse, require

WINDOW_TOLERANCE = 1e-6
"""Largest total weight of samples outside the window in a moving average."""

CURRENT_WEIGHTS = ("ones", "learned", "learned_pull", "decayed", "live")
"""Values of `module_weights` that support `omega_current`. With `ones` it has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoracIpcConfig(LoracIpcFields):
    """LoRAC-IPC (arXiv 2504.13407): composed LoRA, orthogonality, important-parameter constraints.

    Each component can be disabled: `module_weights: ones`, `ortho_mode: none`,
    `importance_threshold: 0`.
    """

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    def __post_init__(self) -> None:
        betas = (("ipc_beta1", self.ipc_beta1), ("ipc_beta2", self.ipc_beta2))
        used = {name for name, _ in betas[: AVERAGES[self.ipc_stat]]}
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
        return lorac_effect.effect(self, position, context, self.trace_settings(context))

    def trace_settings(self, context: EffectContext) -> TraceSettings:
        """Return the settings of the importance trace; the defaults if the trace is never used.

        A run that freezes no matrices, or does not select them by importance, does not use its
        trace. It stores a trace with default settings, so that it shares stages with other runs,
        except for the products of unobserved steps, which change the weights.
        """
        used = self.forecast(context)[-1] > 0 and self.ipc_selector in EVIDENCE_SELECTORS
        if used:
            return TraceSettings.of(self)
        return replace(DEFAULT_TRACE, unobserved=self.ipc_unobserved)

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head, and modules, weights, mask and trace of the stage."""
        matrices, trace = self.matrices(shapes.facts.blocks), self.trace_settings(shapes.context)
        modules = self.module_sizes(shapes, self.rank)
        stages: GroupsByStage = []
        for t, frozen in enumerate(self.forecast(shapes.context)):
            rows, steps = 1 if trace.target == "factors" else trace.window, shapes.steps[t]
            if steps is not None and trace.target != "factors":
                rows = min(rows, -(-steps // trace.every))
            weights = shapes.size_of((matrices, t + 1))
            groups = {
                f"lora.{t}": modules[matrices - frozen],
                f"omega.{t}": weights,
                f"frozen.{t}": Size(1, matrices),
                f"trace.{t}": shapes.size_of((rows, matrices)),
            }
            if t > 0 and frozen < matrices and self.module_weights == "live":
                groups["live"] = weights
            stages.append(head(shapes) | groups)
        return stages

    def issues_in(self, context: EffectContext) -> list[ConfigIssue | None]:
        """Return an issue if a matrix has too few dimensions for orthogonal modules.

        Exact orthogonality needs T * r dimensions, a QR decomposition needs r dimensions.
        """
        issues = LoracIpcFields.issues_in(self, context) if self.trains_a_init else []
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
                f"matrices are frozen from stage {forecast.index(total) + 1} of {context.tasks} "
                "on; later stages train only the head."
            )
        return warnings


DEFAULT_TRACE = TraceSettings.of(LoracIpcConfig())
"""Settings of the importance trace of runs that do not use it."""
