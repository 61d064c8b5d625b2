"""FrozenBackbone: a timm Vision Transformer whose tensors are shared and never written."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor, nn

from clmethods.config.backbone import BackboneConfig
from clmethods.config.canonical import derive_seed
from clmethods.config.facts import BACKBONES
from clmethods.config.resolve import resolve_backbone, weights_path
from clmethods.data.transforms import enlarged


class WeightsError(RuntimeError):
    """A weights file that does not fit the architecture, or cannot be read."""


@dataclass(frozen=True, slots=True)
class SiteSlot:
    """Where a site lives in timm's block: a module and a slice of its output rows."""

    module: str
    part: int
    """Which of the `parts` equal slices of the output."""
    parts: int

    def rows(self, fan_out: int) -> slice:
        """Rows of the module's weight that belong to the site."""
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
"""timm fuses query, key and value in one linear layer; they are three sites here."""


@final
class FrozenBackbone:
    """The pre-trained network: a set of tensors, from which networks are built at no cost.

    A built network shares these tensors, so a stage that adapts it cannot leak into the next.
    """

    def __init__(self, config: BackboneConfig, dtype: torch.dtype, device: str) -> None:
        self.config = config
        self.facts = config.facts
        self.dtype, self.device = dtype, device
        with torch.device("meta"):
            self._template = _architecture(config.name, config.image_size)
        self.tensors: dict[str, Tensor] = {
            name: tensor.to(device=device, dtype=dtype) for name, tensor in _load(config).items()
        }

    @property
    def width(self) -> int:
        """D, the width of a feature."""
        return self.facts.width

    def build(self, replaced: Mapping[str, Tensor] | None = None) -> VisionTransformer:
        """A network over the shared tensors, some of them replaced; nothing requires a gradient.

        In evaluation mode always: the method uses no dropout, and batches must not interact.
        """
        network = copy.deepcopy(self._template)  # much cheaper than to build one, even on meta
        network.load_state_dict({**self.tensors, **(replaced or {})}, strict=True, assign=True)
        return network.requires_grad_(False).eval()

    def weight(self, block: int, site: str) -> Tensor:
        """(b, a): the frozen weight matrix at a site, a view."""
        slot = SITE_SLOTS[site]
        full = self.tensors[f"blocks.{block}.{slot.module}.weight"]
        return full[slot.rows(full.shape[0])]

    def preprocess(self, images: Tensor) -> Tensor:
        """(B, s, s) grey or (B, s, s, 3) RGB, uint8, to (B, 3, S, S) as the network expects it."""
        images = enlarged(images, self.config.image_size)
        pixels = images.to(device=self.device, dtype=self.dtype) / 255.0
        if self.config.normalise == "half":
            pixels = (pixels - 0.5) / 0.5
        if pixels.ndim == 3:
            return pixels.unsqueeze(1).expand(-1, 3, -1, -1)
        return pixels.permute(0, 3, 1, 2)  # (B, 3, S, S)


def features(network: nn.Module, pixels: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, D): the class token after the last norm, before any head."""
    tokens = network.forward_features(pixels)  # type: ignore[operator]  # (B, N, D)
    return network.forward_head(tokens, pre_logits=True)  # type: ignore[operator, no-any-return]


@lru_cache(maxsize=2)
def load_backbone(config: BackboneConfig, precision: str, device: str) -> FrozenBackbone:
    """A backbone, loaded once per process and configuration."""
    return FrozenBackbone(config, getattr(torch, precision), device)


def _architecture(name: str, image_size: int) -> VisionTransformer:
    facts = BACKBONES[name]
    return VisionTransformer(
        img_size=image_size,
        patch_size=facts.patch_size,
        embed_dim=facts.width,
        depth=facts.blocks,
        num_heads=facts.heads,
        mlp_ratio=facts.mlp_ratio,
        num_classes=0,
    )


def _load(config: BackboneConfig) -> dict[str, Tensor]:
    if config.weights == "random":
        return _random(config)
    path = weights_path(resolve_backbone(config))
    try:
        found: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file: {error}") from error
    facts = config.facts
    found = {name: tensor.float() for name, tensor in found.items()}
    with torch.device("meta"):
        wanted = _architecture(config.name, facts.native_size).state_dict()
    differs = _differences(wanted, found)
    if differs:
        raise WeightsError(f"{path.name} does not fit {config.name}: " + "; ".join(differs))
    grid = config.image_size // facts.patch_size
    found["pos_embed"] = resample_abs_pos_embed(found["pos_embed"], new_size=[grid, grid])
    return found


def _random(config: BackboneConfig) -> dict[str, Tensor]:
    """timm's own initialisation under a seed that depends on the name alone."""
    state = torch.get_rng_state()
    try:
        torch.manual_seed(derive_seed(0, "random_backbone", config.name))
        tensors: dict[str, Tensor] = _architecture(config.name, config.image_size).state_dict()
    finally:
        torch.set_rng_state(state)
    return tensors


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Tensor]) -> list[str]:
    missing = sorted(set(wanted) - set(found))
    surplus = sorted(set(found) - set(wanted))
    shapes = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(found))
        if found[name].shape != wanted[name].shape
    ]
    return (
        [f"missing {name}" for name in missing] + [f"surplus {name}" for name in surplus] + shapes
    )
