"""Sites of a Vision Transformer of timm, and a check that adapters fit a network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import nn


@dataclass(frozen=True, slots=True)
class SiteSlot:
    """Location of a site in timm's block: a module and a slice of its output rows."""

    module: str
    part: int
    """Index of the slice among the `parts` equal slices of the output."""
    parts: int

    def rows(self, fan_out: int) -> slice:
        """Return the rows of the module's weight that belong to the site."""
        size = fan_out // self.parts
        return slice(self.part * size, (self.part + 1) * size)


SITE_SLOTS: dict[str, SiteSlot] = {
    "q": SiteSlot("attn.qkv", 0, 3),
    "k": SiteSlot("attn.qkv", 1, 3),
    "v": SiteSlot("attn.qkv", 2, 3),
    "o": SiteSlot("attn.proj", 0, 1),
    "f1": SiteSlot("mlp.fc1", 0, 1),
    "f2": SiteSlot("mlp.fc2", 0, 1),
}
"""Slots by site. timm fuses query, key and value into one linear layer; they are three sites."""

MODULES = tuple(dict.fromkeys(slot.module for slot in SITE_SLOTS.values()))


def unfit(network: nn.Module) -> list[str]:
    """Return the reasons why a timm network cannot be adapted; empty if it can be adapted.

    `network` is on the meta device. It needs timm's plain patch embedding and, in every block, the
    four linear layers that contain the six sites. The block must call them as layers: adapters
    have no effect in a block that reads the weights directly.
    """
    if not isinstance(network, VisionTransformer):
        kind = type(network).__name__
        blocks = list(getattr(network, "blocks", None) or [])
        return [f"it is a {kind}, not a VisionTransformer of timm", *_matrix_issues(blocks)]
    issues = _matrix_issues(network.blocks)
    stem = network.patch_embed
    if hasattr(stem, "backbone") or not isinstance(getattr(stem, "proj", None), nn.Conv2d):
        issues.append(f"its stem is a {type(stem).__name__}, not one convolution patch_embed.proj")
    elif len({*stem.img_size}) > 1 or len({*stem.patch_size}) > 1:
        issues.append(f"its images {stem.img_size} or patches {stem.patch_size} are not square")
    return issues or _bypassed(network)


def _matrix_issues(blocks: Iterable[nn.Module]) -> list[str]:
    issues: dict[str, list[int]] = defaultdict(list)
    for index, block in enumerate(blocks):
        layers = {name: module for name, module in block.named_modules() if name in MODULES}
        linear = {n: layer for n, layer in layers.items() if isinstance(layer, nn.Linear)}
        for name in MODULES:
            if name not in linear:
                issues[f"no linear layer {name}"].append(index)
        if len(linear) == len(MODULES):
            width = linear["attn.qkv"].in_features
            hidden = linear["mlp.fc1"].out_features
            expected = {
                "attn.qkv": (3 * width, width),
                "attn.proj": (width, width),
                "mlp.fc1": (hidden, width),
                "mlp.fc2": (width, hidden),
            }
            for name, shape in expected.items():
                actual = tuple(linear[name].weight.shape)
                if actual != shape:
                    gated = " as in an MLP without gates" if name == "mlp.fc2" else ""
                    issues[f"{name} is {actual}, expected {shape}{gated}"].append(index)
    return [f"{issue} in {len(indices)} blocks" for issue, indices in issues.items()]


def _bypassed(network: VisionTransformer) -> list[str]:
    """Return messages for the layers that a forward pass does not call."""
    called: set[str] = set()
    names = [f"blocks.{i}.{name}" for i in range(len(network.blocks)) for name in MODULES]
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: called.add(name))
    size = network.patch_embed.img_size
    network.forward_features(torch.empty(1, 3, *size, device="meta"))
    return [f"{name} is never called as a layer" for name in names if name not in called]
