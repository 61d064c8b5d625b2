"""The nano backbone and its training heads. B batch, N tokens, D width."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from nano.augment import CLS_TARGETS, TOKEN_TARGETS

ARCHITECTURE: Final[dict[str, Any]] = {
    "img_size": 32,
    "patch_size": 4,
    "embed_dim": 128,
    "depth": 6,
    "num_heads": 4,
    "num_classes": 0,
}
"""Arguments of timm's VisionTransformer."""

PATCH_GAIN: Final = 4.0  # lifts the start of the patch projection to the size of the positions


def sincos_position(side: int, width: int) -> Tensor:
    """Two-dimensional sine-cosine position codes, (1, 1 + side^2, width); zero for CLS."""
    omega = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
    angle = torch.arange(side)[:, None] * omega  # (side, width / 4)
    code = torch.cat([angle.sin(), angle.cos()], 1)  # (side, width / 2)
    rows = code[:, None].expand(side, side, -1)
    columns = code[None].expand(side, side, -1)
    grid = torch.cat([rows, columns], -1).reshape(1, side * side, width)
    return torch.cat([torch.zeros(1, 1, width), grid], 1)


def mimetic_init(model: VisionTransformer, generator: torch.Generator) -> None:
    """Start attention near the products seen in trained ViTs (Trockman and Kolter, ICML 2023).

    Per head W_q^T W_k ~ 0.7 Z + 0.7 I, and W_proj W_v ~ 0.4 Z - 0.4 I, with Z_ij ~ N(0, 1 / D).
    """
    width = model.embed_dim
    eye = torch.eye(width)
    for block in model.blocks:
        heads = block.attn.num_heads
        rank = width // heads
        weight = torch.empty(3 * width, width)
        for head in range(heads):
            noise = torch.randn(width, width, generator=generator) / math.sqrt(width)
            u, s, vh = torch.linalg.svd(0.7 * noise + 0.7 * eye)
            root = s[:rank].sqrt()[:, None]
            rows = slice(head * rank, (head + 1) * rank)
            weight[:width][rows] = root * u[:, :rank].T
            weight[width : 2 * width][rows] = root * vh[:rank]
        noise = torch.randn(width, width, generator=generator) / math.sqrt(width)
        u, s, vh = torch.linalg.svd(0.4 * noise - 0.4 * eye)
        weight[2 * width :] = s.sqrt()[:, None] * vh
        with torch.no_grad():
            block.attn.qkv.weight.copy_(weight)
            block.attn.proj.weight.copy_(u * s.sqrt())


def build_backbone(seed: int) -> VisionTransformer:
    """A new backbone with the mimetic start, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(**ARCHITECTURE)
    mimetic_init(model, torch.Generator().manual_seed(seed))
    side = ARCHITECTURE["img_size"] // ARCHITECTURE["patch_size"]
    with torch.no_grad():
        model.pos_embed.copy_(sincos_position(side, ARCHITECTURE["embed_dim"]))
        model.patch_embed.proj.weight.mul_(PATCH_GAIN)
    return model


def load_backbone(
    weights: dict[str, Tensor] | None, image_size: int, seed: int = 0
) -> VisionTransformer:
    """Plain timm model at any image size; `None` gives timm's random initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(**ARCHITECTURE)
        state = model.state_dict() if weights is None else dict(weights)
    state = {key: value.float() for key, value in state.items()}
    side = image_size // ARCHITECTURE["patch_size"]
    state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], new_size=[side, side])
    model = VisionTransformer(**{**ARCHITECTURE, "img_size": image_size})
    model.load_state_dict(state, strict=True)
    model.eval()
    return model


class PretrainingModel(nn.Module):
    """Backbone plus four linear heads: classes and directions, for CLS and for patch tokens."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        self.backbone = build_backbone(seed)
        width = ARCHITECTURE["embed_dim"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.class_of_cls = nn.Linear(width, classes)
            self.class_of_mean = nn.Linear(width, classes)
            self.directions_of_cls = nn.Linear(width, CLS_TARGETS)
            self.directions_of_token = nn.Linear(width, TOKEN_TARGETS)

    def forward(
        self, images: Tensor, kept: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Class scores of CLS and of the mean token, directions of CLS and of each token.

        images (B, 3, 32, 32); kept (B, M) holds the indices of the patch tokens to keep, None
        keeps all 64.
        """
        net = self.backbone
        tokens = net.patch_embed(images) + net.pos_embed[:, 1:]  # (B, 64, D)
        if kept is not None:
            tokens = tokens.gather(
                1, kept[..., None].expand(-1, -1, tokens.shape[-1])
            )  # (B, M, D)
        cls = (net.cls_token + net.pos_embed[:, :1]).expand(len(images), -1, -1)
        out = net.norm(net.blocks(torch.cat([cls, tokens], 1)))  # (B, 1 + M, D)
        first, rest = out[:, 0], out[:, 1:]
        return (
            self.class_of_cls(first),
            self.class_of_mean(rest.mean(1)),
            self.directions_of_cls(first),
            self.directions_of_token(rest),
        )
