"""Adapters of LoRAC-IPC: new modules, their weights and their orthogonality, per matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clmethods.config.methods import LoracIpcConfig
from clmethods.config.methods.fields import AInit
from clmethods.config.methods.lorac_effect import (
    boundary_factor,
    share_in_effect,
    weight_rule,
)
from clmethods.methods.base import Method
from clmethods.methods.composition import Composition
from clmethods.methods.lora import fresh_factors
from clmethods.nn.adapted_networks import Matrix
from clmethods.nn.lora import SiteAdapter
from clmethods.nn.module_weights import ModuleWeights, Rule
from clmethods.nn.subspace import keep_on_stiefel, keep_orthonormal, project_off, row_basis

RULES: dict[str, Rule] = {"normalised": "constant_sum", "direction_magnitude": "magnitude"}
"""Rules of `ModuleWeights` for the schemes that do not train the weights directly."""


def open_adapters(
    method: Method, config: LoracIpcConfig, composition: Composition, free: Sequence[Matrix]
) -> dict[Matrix, SiteAdapter]:
    """Return a new module in addition to the earlier ones for every matrix of `free`."""
    position = method.stage.position
    share = share_in_effect(config, method.backbone.facts.blocks, len(free))
    rule, a_init, scale = weight_rule(config, position), start_rule(config), composition.scale
    shared: dict[object, ModuleWeights] = {}
    adapters: dict[Matrix, SiteAdapter] = {}
    for matrix in free:
        past = composition.factors(matrix, position - 1)
        group = {"matrix": matrix, "block": matrix.block, "site": matrix.site, "task": None}[share]
        if group not in shared:
            weights = start_weights(method, config, composition, matrix, rule)
            if weights is not None:
                shared[group] = weights
        earlier = torch.cat([a for a, _ in past]) if past else None
        a, b = fresh_factors(method, matrix, config.rank, earlier=earlier, a_init=a_init)
        if config.ortho_mode == "project" and earlier is not None:
            a = project_off(a, row_basis(earlier))
        adapter = SiteAdapter(a, b, scale, past=past, omega=shared.get(group))
        keep_exact(adapter, config, earlier)
        adapters[matrix] = adapter
    return adapters


def start_rule(config: LoracIpcConfig) -> AInit:
    """Return the initialization rule of A; modes that require an orthogonal start override it."""
    return config.a_init if config.trains_a_init else "complement"


def start_weights(
    method: Method, config: LoracIpcConfig, composition: Composition, matrix: Matrix, rule: str
) -> ModuleWeights | None:
    """Return the module weights at the start of a task; None if there are none.

    `rule` is the scheme that is in effect, from `weight_rule`. The weights are those at the end of
    the previous task. Matrices that share weights have the same row of the bank until they freeze.
    """
    position, backbone = method.stage.position, method.backbone
    current = config.omega_current and rule != "ones"
    if position == 0 and not current:
        return None
    factors = composition.factors(matrix, position - 1)
    if position == 0:
        start = torch.ones(1, dtype=backbone.dtype, device=backbone.device)
    else:
        start = composition.bank(matrix, position - 1) * boundary_factor(config)
        if current:
            start = torch.cat([start, start.new_ones(1)])
    norms = None
    if rule == "direction_magnitude":
        norms = torch.stack([a.norm() * b.norm() for a, b in factors])
    return ModuleWeights(start, RULES.get(rule, "free"), norms, learn=rule != "ones")


def keep_exact(adapter: SiteAdapter, config: LoracIpcConfig, earlier: Tensor | None) -> None:
    """Parametrize A to be orthogonal to the earlier modules, if the mode requires it."""
    if config.ortho_mode == "reparam_qr":
        keep_orthonormal(adapter, earlier)
    elif config.ortho_mode == "reparam_torch":
        keep_on_stiefel(adapter, earlier)
    elif config.ortho_mode == "fixed_basis":
        adapter.a.requires_grad_(False)
