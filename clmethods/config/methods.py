"""Hyperparameters of every method, and which of them act at which task.

`effect(position, context)` says what, in effect, acts when the task at `position` is trained, in
canonical form. Stage keys, sharing and merging follow from it, so it must be exact: two runs with
equal effects up to a position must give equal bits there, and a field that is said to act must be
able to change them. `tests/clmethods/test_contract.py` holds every method to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from clmethods.config.facts import SITES
from clmethods.config.faults import Fault, finite, refuse, require
from clmethods.config.freezing import frozen_forecast

Site = Literal["q", "k", "v", "o", "f1", "f2"]
Effect = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EffectContext:
    """What a method must know of the rest of the run to say what acts."""

    tasks: int
    """T of the stream."""
    blocks: int
    """Blocks of the backbone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFields:
    """What all LoRA methods share: where adapters sit and how large they are."""

    rank: int = 16
    """r of the module of one task."""
    lora_alpha: float = 1.0
    """The composed update is scaled by lora_alpha / rank; 1 is the public code's value."""
    sites: tuple[Site, ...] = SITES  # type: ignore[assignment]  # a tuple of the same literals
    """Matrices adapted in each block; their order never matters."""
    depth: int | None = None
    """Number of leading blocks that are adapted; None is all of them, 0 is a linear probe."""
    a_init: Literal["kaiming_ref", "kaiming_fan_in"] = "kaiming_ref"
    """Uniform within 1/sqrt(r), as in the public code, or within 1/sqrt(fan-in)."""

    def lora_faults(self) -> list[Fault | None]:
        """Broken laws of the shared fields."""
        return [
            *finite(self),
            require(self.rank >= 1, "rank", self.rank, "1 or more"),
            require(self.lora_alpha > 0, "lora_alpha", self.lora_alpha, "greater than 0"),
            require(
                len(self.sites) > 0 and len(set(self.sites)) == len(self.sites),
                "sites",
                self.sites,
                f"one or more of {list(SITES)}, each once",
            ),
            require(self.depth is None or self.depth >= 0, "depth", self.depth, "0 or more"),
        ]

    def ordered_sites(self) -> tuple[str, ...]:
        """The adapted sites in the order of `SITES`."""
        return tuple(site for site in SITES if site in self.sites)

    def adapted_blocks(self, blocks: int) -> int:
        """Number of leading blocks with adapters, in a backbone of `blocks`."""
        return blocks if self.depth is None else min(self.depth, blocks)

    def matrices(self, blocks: int) -> int:
        """M: number of adapted matrices."""
        return self.adapted_blocks(blocks) * len(self.sites)

    def lora_effect(self, context: EffectContext) -> Effect:
        """The shared fields in canonical form; they act at every task that adapts something."""
        if self.matrices(context.blocks) == 0:
            return {"depth": 0}
        return {
            "rank": self.rank,
            "lora_alpha": self.lora_alpha,
            "sites": list(self.ordered_sites()),
            "depth": self.adapted_blocks(context.blocks),
            "a_init": self.a_init,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoracIpcConfig(LoraFields):
    """LoRAC-IPC (arXiv 2504.13407): composed LoRA, orthogonality, important-parameter constraints.

    Every part can be off: `module_weights: ones`, `ortho_mode: none`, `importance_threshold: 0`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    VERSION: ClassVar[int] = 1
    ORDER_FREE: ClassVar[bool] = False
    REFERENCE: ClassVar[bool] = False
    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "oracle")

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


WINDOW_TOLERANCE = 1e-6
"""Largest weight that a moving average may still give to the samples that were not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSequentialConfig(LoraFields):
    """One LoRA module fine-tuned task after task: the natural control of LoRAC."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    VERSION: ClassVar[int] = 1
    ORDER_FREE: ClassVar[bool] = False
    REFERENCE: ClassVar[bool] = False
    ROUTINGS: ClassVar[tuple[str, ...]] = ("last",)

    kind: Literal["lora_sequential"] = "lora_sequential"

    def __post_init__(self) -> None:
        refuse(self.lora_faults())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """All fields act at every task."""
        return self.lora_effect(context)


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLoraConfig(LoraFields):
    """LoRA of rank r * T trained once on all tasks together: the upper reference.

    `lora_alpha / rank` stays the scale, so that its capacity is that of T modules of rank r.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    VERSION: ClassVar[int] = 1
    ORDER_FREE: ClassVar[bool] = True
    REFERENCE: ClassVar[bool] = True
    ROUTINGS: ClassVar[tuple[str, ...]] = ("last",)

    kind: Literal["joint_lora"] = "joint_lora"

    def __post_init__(self) -> None:
        refuse(self.lora_faults())

    def effect(self, position: int, context: EffectContext) -> Effect:
        """All fields act in the single stage, and so does T through the rank of the modules."""
        acts = self.lora_effect(context)
        if self.matrices(context.blocks) > 0:
            acts["joint_rank"] = self.rank * context.tasks
        return acts


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestClassMeanConfig:
    """Cosine to class means on the frozen backbone (SimpleCIL): no training at all."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    VERSION: ClassVar[int] = 1
    ORDER_FREE: ClassVar[bool] = False
    REFERENCE: ClassVar[bool] = False
    ROUTINGS: ClassVar[tuple[str, ...]] = ("last",)

    kind: Literal["nearest_class_mean"] = "nearest_class_mean"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """It has no hyperparameters: the backbone and the data decide."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialFinetuningConfig:
    """All weights trained on one task after the other, without protection: the lower reference."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    VERSION: ClassVar[int] = 1
    ORDER_FREE: ClassVar[bool] = False
    REFERENCE: ClassVar[bool] = False
    ROUTINGS: ClassVar[tuple[str, ...]] = ("last",)

    kind: Literal["sequential_finetuning"] = "sequential_finetuning"
    head_loss: Literal["local", "global"] = "local"
    """Cross-entropy over the task's classes, or over all classes seen, the classic collapse."""
    body_lr_scale: float = 0.1
    """Learning rate of the backbone's weights over that of the head."""

    def __post_init__(self) -> None:
        scale = self.body_lr_scale
        refuse([*finite(self), require(scale >= 0, "body_lr_scale", scale, "0 or more")])

    def effect(self, position: int, context: EffectContext) -> Effect:
        """At the first task both losses run over the same classes."""
        acts: Effect = {"body_lr_scale": self.body_lr_scale}
        return acts if position == 0 else acts | {"head_loss": self.head_loss}


MethodConfig = (
    LoracIpcConfig
    | LoraSequentialConfig
    | JointLoraConfig
    | NearestClassMeanConfig
    | SequentialFinetuningConfig
)

METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    "lorac_ipc": LoracIpcConfig,
    "lora_sequential": LoraSequentialConfig,
    "joint_lora": JointLoraConfig,
    "nearest_class_mean": NearestClassMeanConfig,
    "sequential_finetuning": SequentialFinetuningConfig,
}
"""Every method by its `kind`; `clmethods.methods.METHODS` holds the implementations."""
