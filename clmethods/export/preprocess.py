"""Preprocessing of image files that gives the pixels of training and evaluation exactly.

An export contains a copy of this file, `preprocess.py`, which requires torch and Pillow only:

    config = json.loads(Path("timm/config.json").read_text())
    logits = model(preprocess(open_image("photo.jpg"), config)[None])

The transform that timm derives from the same configuration truncates the longer side of a resized
image, where training rounds it, so that its pixels differ for some images that are not square.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps


def open_image(path: str | PathLike[str]) -> Image.Image:
    """Return the image in a file as RGB, turned upright if it has an orientation tag."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def preprocess(image: Image.Image, config: dict[str, Any]) -> torch.Tensor:
    """Return the normalized pixels (3, S, S) of an RGB image. `config` is that of the export."""
    settings = config["preprocessing"]
    resized = _cropped if settings["resize"] == "crop" else _stretched
    pixels = np.array(resized(image, settings["stored_size"], settings["image_size"]))
    planes = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0  # (3, S, S)
    mean, std = (
        torch.tensor(config["pretrained_cfg"][name]).view(3, 1, 1) for name in ("mean", "std")
    )
    return (planes - mean) / std


def _stretched(image: Image.Image, stored: int, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, stored: int, size: int) -> Image.Image:
    """Resize the shorter side to `stored`, and cut out the center of `size` in two steps."""
    scale = stored / min(image.size)
    width, height = (max(stored, round(length * scale)) for length in image.size)
    larger = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = ((length - stored) // 2 + (stored - size) // 2 for length in (width, height))
    return larger.crop((left, top, left + size, top + size))
