"""Small networks of timm and their weights, stored as their authors store them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor

Tensors = dict[str, Tensor]


def network(name: str, **changes: Any) -> VisionTransformer:
    """A network with a head of five classes; every tensor is random, also those born constant."""
    state = torch.get_rng_state()
    torch.manual_seed(7)
    found: VisionTransformer = timm.create_model(name, num_classes=5, **changes)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    torch.set_rng_state(state)
    return found.eval()


def from_timm(name: str, path: Path, **changes: Any) -> VisionTransformer:
    """Load the file with timm itself, in double precision."""
    overlay = {"file": str(path), "num_classes": 5, "custom_load": path.suffix == ".npz"}
    found: VisionTransformer = timm.create_model(
        name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay, **changes
    )
    return found.double().eval()


def as_jax(tensors: Mapping[str, Tensor], heads: int) -> dict[str, Any]:
    """A state of timm in the layout of the original JAX checkpoints."""
    arrays: dict[str, Any] = {}
    for name, tensor in tensors.items():
        array = tensor.numpy()
        layer, _, kind = name.rpartition(".")
        leaf = {"weight": "kernel"}.get(kind, kind)
        if name == "cls_token":
            arrays["cls"] = array
        elif name == "pos_embed":
            arrays["Transformer/posembed_input/pos_embedding"] = array
        elif layer == "patch_embed.proj":
            arrays[f"embedding/{leaf}"] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        elif layer == "head":
            arrays[f"head/{leaf}"] = array.T
        elif layer == "norm":
            arrays[f"Transformer/encoder_norm/{'scale' if kind == 'weight' else kind}"] = array
        else:
            _, block, rest = layer.split(".", 2)
            start = f"Transformer/encoderblock_{block}"
            _block_to_jax(arrays, start, rest, leaf, array, heads)
    return arrays


def _block_to_jax(
    arrays: dict[str, Any], start: str, layer: str, leaf: str, array: Any, heads: int
) -> None:
    attention = f"{start}/MultiHeadDotProductAttention_1"
    if layer in {"norm1", "norm2"}:
        kind = "scale" if leaf == "kernel" else leaf
        arrays[f"{start}/LayerNorm_{0 if layer == 'norm1' else 2}/{kind}"] = array
    elif layer == "attn.qkv":
        for part, name in zip(np.split(array, 3), ("query", "key", "value"), strict=True):
            width = len(part)
            split = (width, heads, width // heads) if leaf == "kernel" else (heads, width // heads)
            arrays[f"{attention}/{name}/{leaf}"] = part.T.reshape(split)
    elif layer == "attn.proj":
        split = (heads, len(array) // heads, len(array))
        arrays[f"{attention}/out/{leaf}"] = array.T.reshape(split) if leaf == "kernel" else array
    else:
        dense = {"mlp.fc1": "Dense_0", "mlp.fc2": "Dense_1"}[layer]
        arrays[f"{start}/MlpBlock_3/{dense}/{leaf}"] = array.T


def as_moco(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state of timm as MoCo v3 stores it: two encoders with projectors, and a predictor."""
    body = {name: t for name, t in tensors.items() if not name.startswith("head.")}
    state = {f"module.base_encoder.{name}": t for name, t in body.items()}
    state |= {f"module.momentum_encoder.{name}": t + 1.0 for name, t in body.items()}
    for part in ("base_encoder.head.0", "momentum_encoder.head.0", "predictor.0"):
        state[f"module.{part}.weight"] = torch.zeros(4, 4)
    return {"epoch": 300, "arch": "vit_base", "state_dict": state, "optimizer": {"state": {}}}


def as_dino(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state of timm as DINO stores it: the teacher is what is published."""
    body = {name: t for name, t in tensors.items() if not name.startswith("head.")}
    teacher = {f"backbone.{name}": t for name, t in body.items()}
    student = {f"module.backbone.{name}": t - 1.0 for name, t in body.items()}
    head = {"head.mlp.0.weight": torch.zeros(4, 4), "head.last_layer.weight_g": torch.zeros(4, 1)}
    return {"student": student, "teacher": teacher | head, "epoch": 100}


def as_deit(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state of timm as DeiT stores it."""
    return {"model": dict(tensors), "epoch": 300}


def as_deit3(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state of timm under the names of DeiT III, whose layer scales lie in the block itself."""
    return {"model": {re.sub(r"ls([12])\.gamma", r"gamma_\1", n): t for n, t in tensors.items()}}


def as_dinov2(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state of timm as DINOv2 stores it: the class token has a position of its own."""
    state = dict(tensors)
    position = torch.linspace(-1, 1, state["cls_token"].numel()).view(1, 1, -1)
    state["register_tokens"] = state.pop("reg_token")
    state["cls_token"] = state["cls_token"] - position
    state["pos_embed"] = torch.cat([position, state["pos_embed"]], dim=1)
    return {n: t for n, t in state.items() if not n.startswith("head.")} | {
        "mask_token": torch.zeros(1, position.shape[-1])
    }
