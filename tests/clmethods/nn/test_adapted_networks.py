"""Networks with adapters, and the same updates merged into the weights."""

from __future__ import annotations

import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor

from clmethods.catalog.facts import SITES
from clmethods.config import LoraSequentialConfig
from clmethods.nn.adapted_networks import (
    Matrix,
    adapted_matrices,
    adapted_network,
    composed_layers,
    merged_weights,
)
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.lora import SiteAdapter
from tests.clmethods.runs import TINY, same_bits

BACKBONE = FrozenBackbone(TINY, torch.float64, "cpu")
PIXELS = torch.rand(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def adapter(site: str, seed: int) -> SiteAdapter:
    fan_in, fan_out = BACKBONE.facts.fan(site)
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(2, fan_in, generator=generator, dtype=torch.float64)
    b = torch.randn(fan_out, 2, generator=generator, dtype=torch.float64)
    return SiteAdapter(a, b, 0.1)


def adapters(*sites: str, blocks: tuple[int, ...] = (0, 1)) -> dict[Matrix, SiteAdapter]:
    return {
        Matrix(block, site): adapter(site, 10 * block + SITES.index(site))
        for block in blocks
        for site in sites
    }


def test_matrices_come_by_block_and_then_by_site_whatever_the_spelling() -> None:
    config = LoraSequentialConfig(sites=("f2", "q", "o"), depth=2)
    assert list(map(str, adapted_matrices(config, 6))) == [
        "0.q",
        "0.o",
        "0.f2",
        "1.q",
        "1.o",
        "1.f2",
    ]
    assert adapted_matrices(LoraSequentialConfig(depth=0), 6) == ()
    assert len(adapted_matrices(LoraSequentialConfig(depth=9), 2)) == 12


@pytest.mark.parametrize("sites", [SITES, ("k",), ("q", "v"), ("o", "f2")])
def test_i03_adapted_and_merged_networks_agree(sites: tuple[str, ...]) -> None:
    modules = adapters(*sites)
    deltas = {matrix: module.update().detach() for matrix, module in modules.items()}
    merged = BACKBONE.build(merged_weights(BACKBONE, deltas))
    found = features(adapted_network(BACKBONE, modules), PIXELS).detach()
    torch.testing.assert_close(found, features(merged, PIXELS), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(found, features(BACKBONE.build(), PIXELS))


def test_i03_holds_for_layers_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some networks of timm have none at query, key and value."""

    def without_bias(*_: object) -> VisionTransformer:
        shape = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
        return VisionTransformer(**shape, num_classes=0, qkv_bias=False)

    monkeypatch.setattr("clmethods.nn.backbone.untrained_network", without_bias)
    backbone = FrozenBackbone(TINY, torch.float64, "cpu")
    assert "blocks.0.attn.qkv.bias" not in backbone.tensors
    modules = adapters("q", "v")
    deltas = {matrix: module.update().detach() for matrix, module in modules.items()}
    merged = backbone.build(merged_weights(backbone, deltas))
    found = features(adapted_network(backbone, modules), PIXELS).detach()
    torch.testing.assert_close(found, features(merged, PIXELS), rtol=1e-10, atol=1e-10)


def test_each_site_acts_on_its_own_rows_alone() -> None:
    """q, k and v share one fused layer; mixing them up is this architecture's classic mistake."""
    for site in SITES:
        delta = adapter(site, 0).update().detach()
        network = BACKBONE.build(merged_weights(BACKBONE, {Matrix(1, site): delta}))
        changed = {
            f"{block}.{other}"
            for block in (0, 1)
            for other in SITES
            if not same_bits(weight(network, block, other), BACKBONE.weight(block, other))
        }
        assert changed == {f"1.{site}"}
        found = weight(network, 1, site)
        torch.testing.assert_close(found, BACKBONE.weight(1, site) + delta)


def weight(network: torch.nn.Module, block: int, site: str) -> Tensor:
    """Rows of a built network's weight that belong to a site, cut out by hand."""
    names = {"o": "attn.proj", "f1": "mlp.fc1", "f2": "mlp.fc2"}
    full: Tensor = network.blocks[block].get_submodule(names.get(site, "attn.qkv")).weight  # type: ignore[operator, index]
    if site in names:
        return full
    start = "qkv".index(site) * 16
    return full[start : start + 16]


def test_frozen_matrices_are_constants_beside_trained_neighbours() -> None:
    modules = adapters("q", "k", "v")
    frozen = modules.pop(Matrix(0, "k"))
    network = adapted_network(BACKBONE, modules, {Matrix(0, "k"): frozen.update().detach()})
    layers = composed_layers(network)
    assert layers.keys() == {(0, "attn.qkv"), (1, "attn.qkv")}
    assert sorted(layers[(0, "attn.qkv")].adapters) == ["0", "2"]
    everything = adapters("q", "k", "v")
    deltas = {matrix: module.update().detach() for matrix, module in everything.items()}
    expected = features(BACKBONE.build(merged_weights(BACKBONE, deltas)), PIXELS)
    found = features(network, PIXELS).detach()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_i13_matrices_that_are_not_adapted_keep_the_frozen_weight() -> None:
    network = adapted_network(BACKBONE, adapters("q", "f2", blocks=(0,)))
    assert composed_layers(network).keys() == {(0, "attn.qkv"), (0, "mlp.fc2")}
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    assert all(name.startswith(("blocks.0.attn.qkv", "blocks.0.mlp.fc2")) for name in trained)
    qkv = composed_layers(network)[(0, "attn.qkv")].effective_weight()
    assert same_bits(qkv[16:], BACKBONE.tensors["blocks.0.attn.qkv.weight"][16:])
