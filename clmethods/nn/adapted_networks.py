"""Vision Transformers with adapted weight matrices or with updates merged into their weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from timm.models import VisionTransformer
from torch import Tensor

from clmethods.config.methods import AdapterFields
from clmethods.nn.backbone import SITE_SLOTS, FrozenBackbone
from clmethods.nn.lora import Adapter, ComposedLinear


class Matrix(NamedTuple):
    """One adapted weight matrix, identified by its block and its site."""

    block: int
    site: str

    def __str__(self) -> str:
        return f"{self.block}.{self.site}"


def adapted_matrices(config: AdapterFields, blocks: int) -> tuple[Matrix, ...]:
    """Return all adapted matrices, ordered by block and then by site.

    Every vector with one entry per matrix uses this order.
    """
    depth, sites = config.adapted_blocks(blocks), config.ordered_sites()
    return tuple(Matrix(block, site) for block in range(depth) for site in sites)


def adapted_network(
    backbone: FrozenBackbone,
    adapters: Mapping[Matrix, Adapter],
    merged: Mapping[Matrix, Tensor] | None = None,
) -> VisionTransformer:
    """Return a network with trainable adapters.

    The updates `merged`, each (b, a), are added to the constant weights.
    """
    network = backbone.build(merged_weights(backbone, merged or {}))
    modules: dict[tuple[int, str], dict[int, Adapter]] = defaultdict(dict)
    for matrix in (*adapters, *(merged or {})):
        slot = SITE_SLOTS[matrix.site]
        parts = modules[(matrix.block, slot.module)]
        if matrix in adapters:
            parts[slot.part] = adapters[matrix]
    for (block, name), parts in modules.items():
        parent_name, child_name = name.split(".")
        parent = network.blocks[block].get_submodule(parent_name)
        linear = parent.get_submodule(child_name)
        count = next(s.parts for s in SITE_SLOTS.values() if s.module == name)
        bias = None if linear.bias is None else linear.bias.detach()
        layer = ComposedLinear(linear.weight.detach(), bias, parts, count)
        setattr(parent, child_name, layer)
    return network


def merged_weights(backbone: FrozenBackbone, deltas: Mapping[Matrix, Tensor]) -> dict[str, Tensor]:
    """Return replacement tensors for `FrozenBackbone.build`: weights plus the updates (b, a)."""
    replaced: dict[str, Tensor] = {}
    for matrix, delta in deltas.items():
        slot = SITE_SLOTS[matrix.site]
        name = f"blocks.{matrix.block}.{slot.module}.weight"
        if name not in replaced:
            replaced[name] = backbone.tensors[name].clone()
        with torch.no_grad():
            replaced[name][slot.rows(replaced[name].shape[0])] += delta
    return replaced


def composed_layers(network: VisionTransformer) -> dict[tuple[int, str], ComposedLinear]:
    """Return the adapted layers of a network by (block, module name)."""
    return {
        (block, name): layer
        for block, module in enumerate(network.blocks)
        for name in dict.fromkeys(slot.module for slot in SITE_SLOTS.values())
        if isinstance(layer := module.get_submodule(name), ComposedLinear)
    }
