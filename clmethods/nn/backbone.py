"""`FrozenBackbone`: a timm Vision Transformer whose tensors are shared and read-only."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import final

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from clmethods.canonical import derive_seed
from clmethods.catalog.facts import BackboneFacts
from clmethods.config.backbone import BackboneConfig
from clmethods.config.resolve import checked_weights
from clmethods.data.transforms import enlarged
from clmethods.nn.architecture import SITE_SLOTS, SiteSlot
from clmethods.nn.precision import DTYPES, FULL, Products
from clmethods.nn.weights import Tensors, load_weights

__all__ = [
    "SITE_SLOTS",
    "FrozenBackbone",
    "SiteSlot",
    "features",
    "load_backbone",
]

STATISTICS = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
"""Mean and standard deviation of red, green and blue, by the values of `normalise`."""


@final
class FrozenBackbone:
    """Pre-trained network: a set of tensors from which networks are built without copying weights.

    All built networks share these tensors. Every tensor is frozen, including the final norm (D16
    of docs/method.md), so adaptation in one stage cannot change the next stage. `ignored` lists
    the tensors of the weights file that are not part of the backbone, such as heads.
    """

    def __init__(
        self,
        config: BackboneConfig,
        dtype: torch.dtype,
        device: str,
        products: Products = FULL,
    ) -> None:
        if config.normalise == "ref":
            raise ValueError("normalise: ref depends on the dataset; resolve the run first")
        self.config = config
        self.facts = config.facts
        self.dtype, self.device, self.products = dtype, device, products
        self._statistics: tuple[Tensor, Tensor] | None = None
        if config.normalise in STATISTICS:
            mean, std = (
                torch.tensor(values, dtype=dtype, device=device).view(3, 1, 1)
                for values in STATISTICS[config.normalise]
            )
            self._statistics = mean, std
        with torch.device("meta"):
            self._template = untrained_network(config, self.facts)
        loaded, self.ignored = _load(config, self.facts, self._template)
        self.tensors: Tensors = {
            name: tensor.to(device=device, dtype=dtype) for name, tensor in loaded.items()
        }

    @property
    def width(self) -> int:
        """Feature width D."""
        return self.facts.width

    def build(self, replaced: Mapping[str, Tensor] | None = None) -> VisionTransformer:
        """Return a network over the shared tensors, some of them replaced, without gradients.

        The network is always in evaluation mode: the method uses no dropout, and the images of a
        batch must not affect each other. `features` computes it with the backbone's `products`.
        """
        network = copy.deepcopy(self._template)  # much cheaper than building one, even on meta
        network.load_state_dict({**self.tensors, **(replaced or {})}, strict=True, assign=True)
        network.products = self.products
        return network.requires_grad_(False).eval()

    def weight(self, block: int, site: str) -> Tensor:
        """Return the frozen weight matrix (b, a) at a site, as a view."""
        slot = SITE_SLOTS[site]
        full = self.tensors[f"blocks.{block}.{slot.module}.weight"]
        return full[slot.rows(full.shape[0])]

    def preprocess(self, images: Tensor) -> Tensor:
        """Convert uint8 images to (B, 3, H, W) in the dtype and range that the network expects.

        `images` is (B, H, W) for grayscale, which is repeated over three channels, or (B, H, W, 3)
        for RGB. Images smaller than the network's input are enlarged. Everything is computed on
        the device of the backbone, to which images are copied as uint8.
        """
        images = enlarged(images.to(self.device), self.config.image_size)
        pixels = images.to(self.dtype) / 255.0
        if pixels.ndim == 4:
            pixels = pixels.permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W)
        else:
            pixels = pixels.unsqueeze(1).expand(-1, 3, -1, -1)  # (B, 3, H, W)
        if self._statistics is not None:
            mean, std = self._statistics  # (3, 1, 1)
            pixels = (pixels - mean) / std
        return pixels


def untrained_network(config: BackboneConfig, facts: BackboneFacts) -> VisionTransformer:
    """Return a network without a head, with timm's initial weights, on torch's default device."""
    if facts.timm:
        network: VisionTransformer = timm.create_model(
            config.architecture,
            pretrained=False,
            num_classes=0,
            img_size=config.image_size,
            global_pool=config.pooling,
        )
        return network
    return VisionTransformer(
        img_size=config.image_size,
        patch_size=facts.patch_size,
        embed_dim=facts.width,
        depth=facts.blocks,
        num_heads=facts.heads,
        mlp_ratio=facts.mlp_ratio,
        num_classes=0,
        global_pool=config.pooling,
    )


def features(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return the features (B, D) of pixels (B, 3, H, W), after the last norm, in their dtype.

    The products inside a network that `FrozenBackbone` built have the formats of the backbone.
    The feature is the input of timm's head: the class token, or the mean of the patch tokens with
    `pooling: avg`. For a distilled DeiT it is the mean of the class and distillation tokens.
    """
    products = getattr(network, "products", FULL)
    if products == FULL:
        return exact_features(network, pixels)
    with products.in_use(pixels.device.type):
        return exact_features(network, pixels).to(pixels.dtype)


def exact_features(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return the features (B, D) with every product in the format of the weights."""
    tokens = network.forward_features(pixels)  # type: ignore[operator]  # (B, N, D)
    return network.forward_head(tokens, pre_logits=True)  # type: ignore[operator, no-any-return]


@lru_cache(maxsize=2)
def load_backbone(
    config: BackboneConfig, precision: str, device: str, tf32: bool = False
) -> FrozenBackbone:
    """Return a backbone, loaded once per process and configuration.

    With the precision bfloat16, tensors are in float32, and the products of networks in bfloat16.
    """
    products = Products(torch.bfloat16 if precision == "bfloat16" else None, tf32)
    return FrozenBackbone(config, DTYPES[precision], device, products)


def _load(
    config: BackboneConfig, facts: BackboneFacts, network: VisionTransformer
) -> tuple[Tensors, tuple[str, ...]]:
    if config.weights == "random":
        return _random(config, facts), ()
    path, _ = checked_weights(config)
    tensors, ignored = load_weights(config, path, network)
    return tensors, tuple(ignored)


def _random(config: BackboneConfig, facts: BackboneFacts) -> Tensors:
    """Return timm's initial weights under a seed that depends only on the architecture."""
    state = torch.get_rng_state()
    try:
        torch.manual_seed(derive_seed(0, "random_backbone", config.architecture))
        tensors: Tensors = untrained_network(config, facts).state_dict()
    finally:
        torch.set_rng_state(state)
    return tensors
