"""Transforms of batches of uint8 images: enlargement and random augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Augment = Literal["none", "crop_flip", "cifar_ref"]
ATTEMPTS = 10
"""Number of random crops per image, of which the first that fits is used, as in torchvision."""


@dataclass(frozen=True, slots=True)
class CropRecipe:
    """Parameters of random resized crops, flips with probability 1/2, and random brightness."""

    smallest: float
    """Smallest fraction of the area in a crop; the largest is 1."""
    interpolation: Literal["bilinear", "bicubic"]
    brightness: float = 0.0
    """Half-width b of the brightness factor, which is uniform in [1 - b, 1 + b]."""
    log_ratio: float = math.log(4 / 3)
    """Bound l of the aspect ratio: log(width / height) is uniform in [-l, l]."""


RECIPES: dict[Augment, CropRecipe] = {
    "crop_flip": CropRecipe(0.05, "bilinear"),
    "cifar_ref": CropRecipe(0.08, "bicubic", brightness=63 / 255),
}
"""Parameters of the public code (docs/method.md section 10)."""


def enlarged(images: Tensor, size: int) -> Tensor:
    """Resize images (B, s, s[, 3]) to (B, S, S[, 3]) uint8 by bicubic interpolation.

    It enlarges originals that are smaller than the input of the network and are stored in their
    original size. Images of size S are returned unchanged.
    """
    if images.shape[1:3] == (size, size):
        return images
    planes = _planes(images)
    larger = F.interpolate(planes, (size, size), mode="bicubic", antialias=True)
    return _bytes(larger, images)


def to_same_shape(images: list[Tensor]) -> list[Tensor]:
    """Convert batches of images to the same shape: the largest side, and RGB if any is RGB."""
    any_rgb = any(part.ndim == 4 for part in images)
    side = max(part.shape[1] for part in images)
    resized = [enlarged(part, side) for part in images]
    if not any_rgb:
        return resized
    return [p if p.ndim == 4 else p.unsqueeze(-1).expand(-1, -1, -1, 3) for p in resized]


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Random crops, flips and brightness of B images, drawn before the images are transformed."""

    maps: Tensor
    """(B, 2, 3) affine maps from the coordinates of a crop to those of its image."""
    factors: Tensor
    """(B,) brightness factors."""
    recipe: CropRecipe

    def to(self, device: str) -> Crops:
        """Return the crops on a device, without waiting for it."""
        return Crops(upload(self.maps, device), upload(self.factors, device), self.recipe)


def draw_crops(batch: int, kind: Augment, generator: torch.Generator) -> Crops | None:
    """Draw the crops of a batch; None without augmentation.

    All random numbers come from `generator`, which is on the CPU for any device of the images;
    their number depends only on the size of the batch.
    """
    if kind == "none":
        return None
    recipe = RECIPES[kind]
    boxes = _boxes(batch, recipe, generator)
    flip = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    factor = 1.0 + recipe.brightness * (2.0 * torch.rand(batch, generator=generator) - 1.0)
    left, top, width, height = boxes.unbind(dim=1)  # in [0, 1]
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width * flip, 2.0 * left + width - 1.0
    theta[:, 1, 1], theta[:, 1, 2] = height, 2.0 * top + height - 1.0
    return Crops(theta, factor, recipe)


def cropped(images: Tensor, crops: Crops | None, size: int) -> Tensor:
    """Crop images (B, s, s[, 3]) to (B, S, S[, 3]) uint8; without crops, return them unchanged.

    Crops are sampled without a low-pass filter, because stored images are at most 8/7 as large as
    S, so that there is little aliasing.
    """
    if crops is None:
        return images
    planes = _planes(images)
    shape = [len(images), planes.shape[1], size, size]
    grid = F.affine_grid(crops.maps, shape, align_corners=False)
    sampled = F.grid_sample(
        planes, grid, mode=crops.recipe.interpolation, padding_mode="border", align_corners=False
    )
    return _bytes(sampled * crops.factors.view(-1, 1, 1, 1), images)


def augmented(images: Tensor, kind: Augment, size: int, generator: torch.Generator) -> Tensor:
    """Augment images (B, s, s[, 3]) to (B, S, S[, 3]) uint8; `none` returns them unchanged."""
    return cropped(images, draw_crops(len(images), kind, generator), size)


def upload(tensor: Tensor, device: str) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for the device."""
    if device == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def _boxes(batch: int, recipe: CropRecipe, generator: torch.Generator) -> Tensor:
    """Return crops (B, 4): left, top, width and height as fractions of the side."""
    draws = torch.rand(4, batch, ATTEMPTS, generator=generator)
    area = recipe.smallest + (1.0 - recipe.smallest) * draws[0]
    ratio = torch.exp(recipe.log_ratio * (2.0 * draws[1] - 1.0))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (width <= 1.0) & (height <= 1.0)
    first = fits.int().argmax(dim=1, keepdim=True)  # the first that fits, or 0
    any_fits = fits.any(dim=1)
    width, height, x, y = (
        value.gather(1, first).squeeze(1) for value in (width, height, draws[2], draws[3])
    )
    width = torch.where(any_fits, width, torch.ones_like(width))  # else the full, square image
    height = torch.where(any_fits, height, torch.ones_like(height))
    return torch.stack([x * (1.0 - width), y * (1.0 - height), width, height], dim=1)


def _planes(images: Tensor) -> Tensor:
    """Convert images (B, H, W) or (B, H, W, 3) uint8 to (B, 1 or 3, H, W) float32."""
    planes = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return planes.to(torch.float32)


def _bytes(planes: Tensor, like: Tensor) -> Tensor:
    rounded = planes.round().clamp(0.0, 255.0).to(torch.uint8)
    return rounded.squeeze(1) if like.ndim == 3 else rounded.permute(0, 2, 3, 1)
