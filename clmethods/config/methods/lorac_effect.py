"""What acts of LoRAC-IPC at which task: pure arithmetic, read by stage keys and by training.

Settings that are equal in effect are spelt alike here; `test_contract.py` holds both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clmethods.config.methods.fields import Effect, EffectContext

if TYPE_CHECKING:
    from clmethods.config.methods.lorac_ipc import LoracIpcConfig

Share = Literal["matrix", "block", "site", "task"]
Statistic = Literal["product", "sensitivity", "uncertainty", "ema_unbiased", "epoch_mean"]
Selector = Literal["importance", "inverse", "random", "first_blocks", "last_blocks", "magnitude"]

SOFT_ORTHOGONALITY = ("gram", "gram_sq", "cross", "cross_l1", "qr")
"""Modes that add a penalty to the loss."""
HARD_ORTHOGONALITY = ("project", "reparam_qr", "reparam_torch", "fixed_basis")
"""Modes that are orthogonal exactly, for which a matrix must have room for all modules."""
ACROSS_TASKS = ("cross", "cross_l1", "qr", "project")
"""Modes that speak of pairs of modules only, so that the first task does not know them."""
EVIDENCE_SELECTORS = ("importance", "inverse")
"""Selectors that read the importance trace."""
AVERAGES: dict[str, int] = {
    "product": 2,
    "sensitivity": 1,
    "uncertainty": 2,
    "ema_unbiased": 2,
    "epoch_mean": 0,
}
"""How many of the two moving averages a statistic takes; the second builds on the first."""


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """What shapes the importance trace that a task leaves behind."""

    target: str
    reducer: str
    every: int
    window: int
    stat: str
    """For the target `factors`, whose entries are averaged while the task trains."""
    beta1: float
    beta2: float

    @classmethod
    def of(cls, config: LoracIpcConfig) -> TraceSettings:
        """The settings as a configuration has them."""
        return cls(
            config.ipc_target,
            config.ipc_reducer,
            config.ipc_every,
            config.ipc_window,
            config.ipc_stat,
            config.ipc_beta1,
            config.ipc_beta2,
        )

    @property
    def scores_last_epoch(self) -> bool:
        """Whether only the last epoch counts while the task trains."""
        return self.target == "factors" and self.stat == "epoch_mean"

    def effect(self) -> Effect:
        """In canonical form, without what is at its default since before it was a setting."""
        acts: Effect = {"every": self.every}
        if self.reducer != "mean":
            acts["reducer"] = self.reducer
        if self.target != "effective":
            acts["target"] = self.target
        if self.target == "factors":
            return acts | _statistic(self.stat, self.beta1, self.beta2)
        return acts | {"window": self.window}


def effect(config: LoracIpcConfig, position: int, context: EffectContext) -> Effect:
    """What acts at `position`: a task saves evidence, the next one takes decisions."""
    total = config.matrices(context.blocks)
    acts = config.lora_effect(context, position)
    if total == 0:
        return acts
    frozen = config.forecast(context)
    trainable = total - frozen[position]
    acts["trace"] = config.trace_settings(context).effect()
    acts |= _orthogonality(config, position, trainable)
    if not config.trains_a_init:
        del acts["a_init"]
    if position > 0:
        newly = frozen[position] - frozen[position - 1]
        acts["newly_frozen"] = newly
        if newly > 0 and trainable > 0:  # which ones is a choice only while some are left over
            acts["ipc"] = _choice(config, newly, context)
    if trainable > 0:
        acts |= _weights(config, position, trainable, context)
    return acts


def pull_weight(config: LoracIpcConfig) -> float:
    """lambda_w, or 0 where nothing is pulled or what is pulled cannot move."""
    pulls = config.module_weights == "learned_pull" and config.omega_lr_scale > 0
    return config.omega_pull if pulls else 0.0


def boundary_factor(config: LoracIpcConfig) -> float:
    """gamma, or 1 where module weights cross a boundary as they are."""
    return config.omega_decay if config.module_weights == "decayed" else 1.0


def weight_rule(config: LoracIpcConfig, position: int) -> str:
    """The scheme of module weights in force, told apart by what it does at `position`."""
    if config.module_weights == "normalised" and position < 2:
        return "ones"  # one weight whose sum is constant
    if config.module_weights == "learned_pull" and pull_weight(config) == 0:
        return "learned"
    if config.module_weights == "decayed" and boundary_factor(config) == 1:
        return "learned"
    return config.module_weights


def share_in_effect(config: LoracIpcConfig, blocks: int, trainable: int) -> Share:
    """The coarsest spelling-free name of who shares a weight, among that many matrices."""
    depth, sites = config.adapted_blocks(blocks), len(config.sites)
    if trainable == 1:
        return "matrix"
    if config.omega_share == "block" and (sites == 1 or depth == 1):
        return "matrix" if sites == 1 else "task"
    if config.omega_share == "site" and (sites == 1 or depth == 1):
        return "matrix" if depth == 1 else "task"
    return config.omega_share


def _weights(
    config: LoracIpcConfig, position: int, trainable: int, context: EffectContext
) -> Effect:
    """Module weights act from the second task on; the current module's own from the first."""
    rule = weight_rule(config, position)
    current = config.omega_current and rule != "ones"
    acts: Effect = {}
    if position > 0:
        acts["module_weights"] = rule
        if rule == "learned_pull":
            acts["omega_pull"] = config.omega_pull
        if rule == "decayed":
            acts["omega_decay"] = config.omega_decay
    if current:
        acts["omega_current"] = True
    if (position > 0 and rule != "ones") or current:
        acts["omega_lr_scale"] = config.omega_lr_scale
        share = share_in_effect(config, context.blocks, trainable)
        if share != "matrix":
            acts["omega_share"] = share
    return acts


def _orthogonality(config: LoracIpcConfig, position: int, trainable: int) -> Effect:
    """A penalty of weight 0, or one over pairs at the first task, is no penalty."""
    mode, off = config.ortho_mode, {"ortho_lambda": 0.0}
    if trainable == 0 or (position == 0 and mode in ACROSS_TASKS):
        return off
    if mode in HARD_ORTHOGONALITY:
        return off | {"ortho_mode": mode}
    if mode == "none" or config.ortho_lambda == 0:
        return off
    penalty: Effect = {"ortho_lambda": config.ortho_lambda}
    return penalty if mode == "gram" else penalty | {"ortho_mode": mode}


def _choice(config: LoracIpcConfig, newly: int, context: EffectContext) -> Effect:
    """How the newly frozen matrices are chosen."""
    acts: Effect = {}
    if config.ipc_selector != "importance":
        acts["selector"] = config.ipc_selector
    if config.ipc_selector in EVIDENCE_SELECTORS and config.ipc_target != "factors":
        acts |= _statistic(config.ipc_stat, config.ipc_beta1, config.ipc_beta2)
    groups = {
        "global": 1,
        "per_site": len(config.sites),
        "per_block": config.adapted_blocks(context.blocks),
    }[config.ipc_scope]
    if 1 < groups <= newly:  # else no group has a share of its own
        acts["scope"] = config.ipc_scope
    return acts


def _statistic(stat: str, beta1: float, beta2: float) -> Effect:
    acts: Effect = {} if stat == "product" else {"stat": stat}
    betas = {"beta1": beta1, "beta2": beta2}
    return acts | dict(list(betas.items())[: AVERAGES[stat]])
