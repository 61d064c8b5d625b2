"""The Fisher information against gradients taken image by image."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from clmethods.config import BackboneConfig
from clmethods.nn.backbone import features, load_backbone
from clmethods.nn.fisher import diagonal_fisher, images_at_once
from tests.clmethods.runs import TINY


def test_it_is_the_mean_of_squared_gradients_of_single_images() -> None:
    backbone = load_backbone(TINY, "float64", "cpu")
    own = {name: tensor.clone() for name, tensor in backbone.tensors.items()}
    network = backbone.build(own).requires_grad_(True)
    weights = {f"vit.{name}": weight for name, weight in network.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(7, 3, 8, 8, generator=generator, dtype=torch.float64)
    targets = torch.arange(7) % 3
    head = (torch.randn(3, 16, generator=generator).double(), torch.zeros(3).double())

    expected = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for image, target in zip(pixels, targets, strict=True):
        logits = F.linear(features(network, image[None]), *head)
        loss = -logits.log_softmax(dim=1)[0, target]
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for name, gradient in zip(weights, gradients, strict=True):
            expected[name] += gradient.square() / 7

    for size in (7, 3):  # a short last batch counts for its images only
        batches = zip(pixels.split(size), targets.split(size), strict=True)
        found = diagonal_fisher(network, weights, head, batches)
        assert found.keys() == expected.keys()
        for name, fisher in found.items():
            torch.testing.assert_close(fisher, expected[name], rtol=1e-9, atol=1e-14, msg=name)
    of_the_batch = torch.autograd.grad(
        F.cross_entropy(F.linear(features(network, pixels), *head), targets),
        [weights["vit.norm.weight"]],
    )[0]
    assert not torch.allclose(of_the_batch.square(), expected["vit.norm.weight"], rtol=0.1)


def test_large_networks_are_taken_image_by_image() -> None:
    assert images_at_once({"w": torch.empty(86_000_000, device="meta")}) == 1
    assert images_at_once({"w": torch.empty(10_000_000, device="meta")}) == 6
    nano = load_backbone(BackboneConfig(), "float32", "cpu")
    assert images_at_once(nano.tensors) == 55
    assert images_at_once({}) == 64
