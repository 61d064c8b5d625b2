"""Export of a network to a folder that timm reads: `config.json` and `model.safetensors`.

The layout is that of timm's own models on a hub, so that `create_model("local-dir:FOLDER")` works
with versions of timm that support this source, and `create_model(architecture,
checkpoint_path=...)` with all versions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor

from clmethods.archive import write
from clmethods.checkpoint import state_to_bytes
from clmethods.data.image_decoding import Resize, stored_side
from clmethods.data.transforms import enlarged
from clmethods.methods import LinearHead
from clmethods.nn.backbone import FrozenBackbone

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TEMPLATE = "vit_tiny_patch16_224"
"""timm architecture that represents networks without a timm name; all sizes are passed explicitly.
"""


def write_network(
    folder: Path,
    backbone: FrozenBackbone,
    tensors: Mapping[str, Tensor],
    head: LinearHead,
    class_names: Sequence[str],
    resize: Resize,
) -> None:
    """Write the network with `tensors`, by timm's names, and a head with a row per class name.

    `resize` is the resizing of the training images, which `pretrained_cfg` describes.
    """
    architecture, model_args = recipe(backbone)
    mean, std = pixel_statistics(backbone)
    size = backbone.config.image_size
    classifiers = classifier_names(backbone)
    config = {
        "architecture": architecture,
        "num_classes": len(class_names),
        "num_features": backbone.width,
        "global_pool": model_args["global_pool"],
        "model_args": model_args,
        "label_names": list(class_names),
        "preprocessing": {
            "resize": resize,
            "stored_size": stored_side(size, resize),
            "image_size": size,
        },
        "pretrained_cfg": {
            "num_classes": len(class_names),
            "input_size": [3, size, size],
            "fixed_input_size": True,
            "pool_size": None,
            **resize_settings(resize, size),
            "mean": mean,
            "std": std,
            "first_conv": "patch_embed.proj",
            "classifier": classifiers[0] if len(classifiers) == 1 else classifiers,
        },
    }
    weights = {name: tensor.float() for name, tensor in tensors.items()}
    weights |= classifier_tensors(classifiers, head)
    write(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    write(folder / WEIGHTS, state_to_bytes(weights))


def read_network(folder: Path) -> VisionTransformer:
    """Load the network of a folder with timm, in evaluation mode and without gradients."""
    config = read_config(folder)
    network: VisionTransformer = timm.create_model(
        config["architecture"],
        num_classes=config["num_classes"],
        checkpoint_path=str(folder / WEIGHTS),
        **config["model_args"],
    )
    return network.requires_grad_(False).eval()


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration that `write_network` wrote."""
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return config


def pixels(config: Mapping[str, Any], images: Tensor) -> Tensor:
    """Convert uint8 images to (B, 3, H, W), normalized according to `config`.

    `images` is (B, H, W) for grayscale or (B, H, W, 3) for RGB. Images smaller than the input of
    the network are enlarged.
    """
    scaled = enlarged(images, config["pretrained_cfg"]["input_size"][-1]).float() / 255.0
    scaled = scaled.permute(0, 3, 1, 2) if scaled.ndim == 4 else scaled.unsqueeze(1)
    mean, std = (
        torch.tensor(config["pretrained_cfg"][name]).view(3, 1, 1) for name in ("mean", "std")
    )
    return (scaled.expand(-1, 3, -1, -1) - mean) / std  # (B, 3, H, W)


def unnormalized(config: Mapping[str, Any], normalized: Tensor) -> Tensor:
    """Convert normalized pixels (B, 3, H, W) to uint8 images (B, H, W, 3), inverse to `pixels`."""
    mean, std = (
        torch.tensor(config["pretrained_cfg"][name]).view(3, 1, 1) for name in ("mean", "std")
    )
    scaled = (normalized * std + mean) * 255.0
    return scaled.round().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)


def recipe(backbone: FrozenBackbone) -> tuple[str, dict[str, Any]]:
    """Return timm's name of the architecture and the arguments that create this network."""
    config, facts = backbone.config, backbone.facts
    shape: dict[str, Any] = {
        "img_size": config.image_size,
        "global_pool": backbone.build().global_pool,
    }
    if facts.timm:
        return config.architecture, shape
    return TEMPLATE, shape | {
        "patch_size": facts.patch_size,
        "embed_dim": facts.width,
        "depth": facts.blocks,
        "num_heads": facts.heads,
        "mlp_ratio": facts.mlp_ratio,
    }


def classifier_names(backbone: FrozenBackbone) -> list[str]:
    """Return the names of the linear layers that classify.

    A distilled DeiT averages the logits of two heads, one per token. With the same weights in both
    heads, the average is the linear layer applied to the mean of the tokens, the feature.
    """
    names = ("head", "head_dist")
    return [name for name in names if hasattr(backbone.build(), name)]


def classifier_tensors(classifiers: Sequence[str], head: LinearHead) -> dict[str, Tensor]:
    """Return the tensors of the classifiers by name: copies, since files hold no shared memory."""
    return {
        f"{name}.{kind}": tensor.float().clone()
        for name in classifiers
        for kind, tensor in (("weight", head.weight), ("bias", head.bias))
    }


def resize_settings(resize: Resize, size: int) -> dict[str, Any]:
    """Return timm's settings of the resizing of the training images.

    `stretch` is exact. For `crop`, timm resizes the shorter side to floor(size / crop_pct), as in
    training, but truncates the longer side, which training rounds. `preprocess.py` is exact.
    """
    side = stored_side(size, resize)
    fraction = size / side
    while math.floor(size / fraction) < side:  # the quotient can be one rounding error too small
        fraction = math.nextafter(fraction, 0.0)
    mode = "squash" if resize == "stretch" else "center"
    return {"interpolation": "bicubic", "crop_pct": fraction, "crop_mode": mode}


def pixel_statistics(backbone: FrozenBackbone) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, from the backbone's preprocessing."""
    size = backbone.config.image_size
    flat = torch.stack([torch.zeros(size, size), torch.full((size, size), 255.0)])
    black, white = backbone.preprocess(flat.to(torch.uint8))[:, :, 0, 0].double()  # (3,) each
    std = 1.0 / (white - black)
    return [[round(value, 6) for value in row.tolist()] for row in (-black * std, std)]  # type: ignore[return-value]
