"""Diagonal of the Fisher information, computed from per-image gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from clmethods.nn.backbone import exact_features

CHUNK_FLOATS = 2**26
"""Maximum number of per-image gradient scalars in memory (256 MB in single precision)."""


def images_at_once(weights: Mapping[str, Tensor]) -> int:
    """Return the number of images whose gradients are computed together.

    The number can change the bits of the result, so it depends only on the size of the weights.
    """
    total = sum(weight.numel() for weight in weights.values())
    return max(1, min(64, CHUNK_FLOATS // max(1, total)))


def diagonal_fisher(
    network: nn.Module,
    weights: Mapping[str, nn.Parameter],
    classifier: tuple[Tensor, Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
) -> dict[str, Tensor]:
    """Return the mean over images of (d log p(y|x) / d theta)^2, by the names of `weights`.

    The gradient of each image is squared, not the gradient of a batch. `weights` are parameters of
    `network`; `classifier` is a weight (K, D) and a bias (K,); `batches` contain pixels (B, 3, H,
    W) and targets (B,) in 0..K-1.
    """
    module = _Features(network)
    names = {id(weight): name for name, weight in weights.items()}
    inner = {n: names[id(p)] for n, p in module.named_parameters() if id(p) in names}
    values = {n: weights[name].detach() for n, name in inner.items()}
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    images = 0

    def negative_log_likelihood(
        parameters: dict[str, Tensor], image: Tensor, target: Tensor
    ) -> Tensor:
        feature = functional_call(module, parameters, (image[None],))  # (1, D)
        return F.cross_entropy(F.linear(feature, *classifier), target[None])

    gradients = vmap(grad(negative_log_likelihood), in_dims=(None, 0, 0))
    for pixels, targets in batches:
        with sdpa_kernel(SDPBackend.MATH):  # vmap does not support the fused kernels
            per_image = gradients(values, pixels, targets)
        for n, name in inner.items():
            totals[name] += per_image[n].square().sum(dim=0)
        images += len(targets)
    return {name: total / max(1, images) for name, total in totals.items()}


@final
class _Features(nn.Module):
    """Wrapper around a network whose forward pass returns features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return exact_features(self.network, pixels)
