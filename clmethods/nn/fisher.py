"""The diagonal of the Fisher information, from the gradient of every single image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from clmethods.nn.backbone import features

CHUNK_FLOATS = 2**26
"""Scalars of per-image gradients that are held at once (256 MB in single precision)."""


def images_at_once(weights: Mapping[str, Tensor]) -> int:
    """How many images' gradients fit. It can change bits, so only the weights decide on it."""
    total = sum(weight.numel() for weight in weights.values())
    return max(1, min(64, CHUNK_FLOATS // max(1, total)))


def diagonal_fisher(
    network: nn.Module,
    weights: Mapping[str, nn.Parameter],
    classifier: tuple[Tensor, Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
) -> dict[str, Tensor]:
    """mean over images of (d log p(y|x) / d theta)^2, by the names of `weights`.

    The square of each image's gradient, not of a batch's. `weights` are parameters of `network`;
    `classifier` is (K, D) and (K,); `batches` hold pixels (B, 3, H, W) and targets (B,) in 0..K-1.
    """
    module = _Features(network)
    names = {id(weight): name for name, weight in weights.items()}
    inner = {n: names[id(p)] for n, p in module.named_parameters() if id(p) in names}
    values = {n: weights[name].detach() for n, name in inner.items()}
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    images = 0

    def surprise(parameters: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        found = functional_call(module, parameters, (image[None],))  # (1, D)
        return F.cross_entropy(F.linear(found, *classifier), target[None])

    gradients = vmap(grad(surprise), in_dims=(None, 0, 0))
    for pixels, targets in batches:
        with sdpa_kernel(SDPBackend.MATH):  # the fused ones cannot be batched over images
            found = gradients(values, pixels, targets)
        for n, name in inner.items():
            totals[name] += found[n].square().sum(dim=0)
        images += len(targets)
    return {name: total / max(1, images) for name, total in totals.items()}


@final
class _Features(nn.Module):
    """A network as a module whose forward pass gives features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return features(self.network, pixels)
