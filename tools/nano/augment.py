"""Batch augmentation and the regression targets. B batch, S = 32 the picture side.

No flips: mirrored characters are other characters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 32  # side of a training picture
CELL = 4  # side of a histogram cell = patch size of the backbone
BINS = 8  # unsigned gradient directions
TOKEN_TARGETS = 9 * BINS  # a token's cell and its 8 neighbours
CLS_TARGETS = 16 * BINS  # 4 x 4 layout of the whole picture


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def place(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Random affine view: 20 degrees, scale .75-1.2, shear, shift; (B, 40, 40) -> (B, 1, S, S)."""
    batch = len(pictures)
    turn = uniform(generator, -math.pi / 9, math.pi / 9, batch)
    zoom = 1.0 / uniform(generator, 0.75, 1.2, batch)
    stretch = uniform(generator, 0.87, 1.15, batch)
    shear = uniform(generator, -0.2, 0.2, batch)
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    shift = uniform(generator, -0.15, 0.15, batch, 2)
    top = torch.stack([cos * stretch, shear * zoom - sin, shift[:, 0]], -1)
    bottom = torch.stack([sin * stretch, cos, shift[:, 1]], -1)
    grid = F.affine_grid(torch.stack([top, bottom], 1), [batch, 1, SIZE, SIZE], False)
    source = pictures.to(torch.float32)[:, None] / 255.0
    return F.grid_sample(source, grid, padding_mode="zeros", align_corners=False)


def colour(clean: Tensor, generator: torch.Generator, painted_share: float) -> Tensor:
    """Gamma, softening, colours and noise; (B, 1, S, S) in [0, 1] -> (B, 3, S, S) in [-1, 1].

    Of the `painted_share`, two fifths are inverted and three fifths get two random colours; all
    others stay bright on dark. A quarter of the pictures pass through a third of the resolution.
    """
    batch = len(clean)
    gamma = torch.exp(uniform(generator, -0.5, 0.5, batch, 1, 1, 1))
    grey = clean.clamp(1e-4, 1.0) ** gamma
    soft = int(0.25 * batch)
    small = F.interpolate(grey[:soft], size=SIZE // 3, mode="area")
    small = F.interpolate(small, size=SIZE, mode="bilinear", align_corners=False)
    grey = torch.cat([small, grey[soft:]])
    kind = torch.rand(batch, generator=generator)
    ground = torch.rand(batch, 3, generator=generator)
    ink = torch.rand(batch, 3, generator=generator)
    near = (ground.mean(1) - ink.mean(1)).abs() < 0.25  # too little contrast: push apart
    ink = torch.where(near[:, None], (ground + 0.5) % 1.0, ink)
    plain = (kind >= painted_share)[:, None]
    inverted = (kind < 0.4 * painted_share)[:, None]
    ground = torch.where(plain, 0.0, torch.where(inverted, 1.0, ground))
    ink = torch.where(plain, 1.0, torch.where(inverted, 0.0, ink))
    images = ground[..., None, None] + (ink - ground)[..., None, None] * grey  # (B, 3, S, S)
    level = uniform(generator, 0.0, 0.1, batch, 1, 1, 1)
    level = level * (torch.rand(batch, 1, 1, 1, generator=generator) < 0.5)
    noise = torch.randn(images.shape, generator=generator) * level
    return (images + noise).clamp(0.0, 1.0) * 2.0 - 1.0


def direction_targets(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Unsigned-direction histograms of the clean picture, in the manner of HOG (MaskFeat).

    Returns (B, 64, TOKEN_TARGETS) for the patch tokens, row by row, and (B, CLS_TARGETS).
    Each vector has unit length where the picture has edges.
    """
    padded = F.pad(clean, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    strength = torch.sqrt(across.square() + down.square())
    place_ = torch.atan2(down, across).remainder(math.pi) * (BINS / math.pi)
    bins = torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1)
    apart = (place_ - bins).remainder(BINS)
    apart = torch.minimum(apart, BINS - apart)
    votes = strength * (1.0 - apart).clamp(min=0.0)  # (B, BINS, S, S), linear between two bins
    cells = F.avg_pool2d(votes, CELL)  # (B, BINS, 8, 8)
    tokens = F.unfold(cells, 3, padding=1).transpose(1, 2)  # (B, 64, 9 BINS)
    whole = F.avg_pool2d(cells, 2).flatten(1)  # (B, 16 BINS)
    return F.normalize(tokens, dim=-1, eps=0.05), F.normalize(whole, dim=-1, eps=0.05)
