"""Effect of the LoRAC-IPC hyperparameters on each task, used by stage keys and by training.

Settings with the same effect have the same canonical form. `tests/clmethods/test_contract.py`
tests this in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

from clmethods.config.methods.fields import Effect, EffectContext
from clmethods.config.methods.lorac_fields import (
    ACROSS_TASKS,
    AVERAGES,
    EVIDENCE_SELECTORS,
    HARD_ORTHOGONALITY,
    LoracIpcFields,
    Share,
)

FORM_TABLE = 1
"""Version of the products that `ipc_unobserved: auto` uses, and of the table of their forms."""


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """Settings of the importance trace that a stage stores."""

    target: str
    reducer: str
    every: int
    window: int
    stat: str
    """Statistic; it acts only for the target `factors`, which is averaged during training."""
    beta1: float
    beta2: float
    unobserved: str = "dense"
    """Products of the steps whose samples are not kept."""

    @classmethod
    def of(cls, config: LoracIpcFields) -> TraceSettings:
        """Return the settings of a configuration."""
        return cls(
            config.ipc_target,
            config.ipc_reducer,
            config.ipc_every,
            config.ipc_window,
            config.ipc_stat,
            config.ipc_beta1,
            config.ipc_beta2,
            config.ipc_unobserved,
        )

    @property
    def scores_last_epoch(self) -> bool:
        """True if training accumulates the scores of the last epoch only."""
        return self.target == "factors" and self.stat == "epoch_mean"

    @property
    def scores_all(self) -> bool:
        """True if every sample counts, because training accumulates the scores of all of them."""
        return self.target == "factors" and self.stat != "epoch_mean"

    def effect(self) -> Effect:
        """Return the settings in canonical form.

        Settings that were added later are omitted at their default, so that older stage keys stay
        valid.
        """
        acts: Effect = {"every": self.every}
        if self.unobserved == "thin" and not self.scores_all:
            acts["unobserved"] = "thin"
        if self.unobserved == "auto" and not (self.scores_all and self.every == 1):
            acts |= {"unobserved": "auto", "form_table": FORM_TABLE}
        if self.reducer != "mean":
            acts["reducer"] = self.reducer
        if self.target != "effective":
            acts["target"] = self.target
        if self.target == "factors":
            return acts | _statistic(self.stat, self.beta1, self.beta2)
        return acts | {"window": self.window}


def effect(
    config: LoracIpcFields, position: int, context: EffectContext, trace: TraceSettings
) -> Effect:
    """Return the fields that act at `position`, in canonical form.

    A task stores its importance trace, with the settings `trace`; the next task selects the
    matrices to freeze.
    """
    total = config.matrices(context.blocks)
    acts = config.lora_effect(context, position)
    if total == 0:
        return acts
    frozen = config.forecast(context)
    trainable = total - frozen[position]
    acts["trace"] = trace.effect()
    acts |= _orthogonality(config, position, trainable)
    if not config.trains_a_init:
        del acts["a_init"]
    if position > 0:
        newly = frozen[position] - frozen[position - 1]
        acts["newly_frozen"] = newly
        if newly > 0 and trainable > 0:  # if all matrices freeze, there is nothing to select
            acts["ipc"] = _selection(config, newly, context)
    if trainable > 0:
        acts |= _weights(config, position, trainable, context)
    return acts


def pull_weight(config: LoracIpcFields) -> float:
    """Return lambda_w, the weight of the pull; 0 if there is no pull or no trained weight."""
    pulls = config.module_weights == "learned_pull" and config.omega_lr_scale > 0
    return config.omega_pull if pulls else 0.0


def boundary_factor(config: LoracIpcFields) -> float:
    """Return gamma, the decay of module weights at a task boundary; 1 if they do not decay."""
    return config.omega_decay if config.module_weights == "decayed" else 1.0


def weight_rule(config: LoracIpcFields, position: int) -> str:
    """Return the scheme of module weights that is in effect at `position`.

    Schemes that act alike at `position` have the same name.
    """
    if config.module_weights == "normalised" and position < 2:
        return "ones"  # a single weight with a constant sum
    if config.module_weights == "learned_pull" and pull_weight(config) == 0:
        return "learned"
    if config.module_weights == "decayed" and boundary_factor(config) == 1:
        return "learned"
    return config.module_weights


def share_in_effect(config: LoracIpcFields, blocks: int, trainable: int) -> Share:
    """Return the canonical value of `omega_share` for `trainable` matrices.

    Values that give the same sharing are equal: with one site, `block` is the same as `matrix`.
    """
    depth, sites = config.adapted_blocks(blocks), len(config.sites)
    if trainable == 1:
        return "matrix"
    if config.omega_share == "block" and (sites == 1 or depth == 1):
        return "matrix" if sites == 1 else "task"
    if config.omega_share == "site" and (sites == 1 or depth == 1):
        return "matrix" if depth == 1 else "task"
    return config.omega_share


def _weights(
    config: LoracIpcFields, position: int, trainable: int, context: EffectContext
) -> Effect:
    """Return the settings of module weights that act.

    Weights of earlier modules act from the second task on, the weight of the current module from
    the first task on.
    """
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


def _orthogonality(config: LoracIpcFields, position: int, trainable: int) -> Effect:
    """Return the settings of orthogonality that act.

    A penalty of weight 0 does not act, nor does a penalty on pairs of modules at the first task.
    """
    mode = config.ortho_mode
    off: Effect = {"ortho_lambda": 0.0}
    if trainable == 0 or (position == 0 and mode in ACROSS_TASKS):
        return off
    if mode in HARD_ORTHOGONALITY:
        return off | {"ortho_mode": mode}
    if mode == "none" or config.ortho_lambda == 0:
        return off
    penalty: Effect = {"ortho_lambda": config.ortho_lambda}
    return penalty if mode == "gram" else penalty | {"ortho_mode": mode}


def _selection(config: LoracIpcFields, newly: int, context: EffectContext) -> Effect:
    """Return the settings that select the `newly` frozen matrices."""
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
    if 1 < groups <= newly:  # else no group gets a matrix of its own share
        acts["scope"] = config.ipc_scope
    return acts


def _statistic(stat: str, beta1: float, beta2: float) -> Effect:
    acts: Effect = {} if stat == "product" else {"stat": stat}
    betas = {"beta1": beta1, "beta2": beta2}
    return acts | dict(list(betas.items())[: AVERAGES[stat]])
