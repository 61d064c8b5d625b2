"""Networks of timm that can be adapted, and checks of the recorded facts about them."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import timm
import torch
from timm.models import VisionTransformer
from torch import nn

from clmethods.catalog.facts import BACKBONES
from clmethods.nn.architecture import MODULES, unfit
from clmethods.nn.timm_subprocess import facts, fetch

OF_TIMM = sorted(name for name, known in BACKBONES.items() if known.timm)
SMALL = ["test_vit", "deit_tiny_distilled_patch16_224", "vit_small_patch14_reg4_dinov2"]


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = timm.create_model(name, num_classes=0)
    return network


@pytest.mark.parametrize(
    "name",
    [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in OF_TIMM],
)
def test_the_table_says_what_timm_builds(name: str) -> None:
    assert facts(name) == asdict(BACKBONES[name])


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("resnet18", ["it is a ResNet, not a VisionTransformer"]),
        ("beit_base_patch16_224", ["it is a Beit, not a VisionTransformer"]),
        ("vit_tiny_r_s16_p8_224", ["its stem is a HybridEmbed"]),
        ("vit_giant_patch14_dinov2", ["mlp.fc2 is (1536, 4096)", "without gates in 40 blocks"]),
        ("aimv2_large_patch14_224", ["no linear layer mlp.fc1 in 24 blocks"]),
        (
            "vit_base_patch16_xp_224",
            [f"no linear layer {module} in 12 blocks" for module in MODULES],
        ),
        ("vit_tiny_patch16_2240", ["has no 'vit_tiny_patch16_2240'", "'vit_tiny_patch16_224'"]),
    ],
)
def test_what_cannot_be_adapted_is_refused_with_the_reason(name: str, reasons: list[str]) -> None:
    refused = facts(name)["refused"]
    for reason in reasons:
        assert reason in refused


def test_layers_that_are_not_called_would_pass_adapters_by() -> None:
    class Direct(nn.Module):
        """Reads the weight of its fused layer itself, as some blocks of timm do."""

        def __init__(self, attention: nn.Module) -> None:
            super().__init__()
            self.qkv, self.proj = attention.qkv, attention.proj

        def forward(self, x: torch.Tensor, **_: object) -> torch.Tensor:
            values = nn.functional.linear(x, self.qkv.weight, self.qkv.bias)  # type: ignore[arg-type]
            return self.proj(values[..., : x.shape[-1]])  # type: ignore[operator,no-any-return]

    network = on_meta("test_vit")
    assert isinstance(network, VisionTransformer)
    assert unfit(network) == []
    network.blocks[3].attn = Direct(network.blocks[3].attn)
    assert unfit(network) == ["blocks.3.attn.qkv is never called as a layer"]


def test_a_tag_that_timm_does_not_know_is_refused_with_those_it_knows() -> None:
    refused = fetch("test_vit.in22k")["refused"]
    assert "has no weights test_vit.in22k" in refused
    assert "test_vit.r160_in1k" in refused
