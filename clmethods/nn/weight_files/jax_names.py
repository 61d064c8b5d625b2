"""Conversion of the original JAX checkpoints of ViT and AugReg (.npz) to timm's tensor names.

Dense kernels are stored (a, b), with heads and widths in separate dimensions, and convolutions as
(H, W, in, out). timm reads the same files. Here the names are converted first, so that all missing
and surplus tensors of a file can be listed before anything is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

PLAIN = {
    "cls": "cls_token",
    "embedding/bias": "patch_embed.proj.bias",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "Transformer/encoder_norm/scale": "norm.weight",
    "Transformer/encoder_norm/bias": "norm.bias",
    "head/bias": "head.bias",
    "pre_logits/bias": "pre_logits.bias",
    "pre_logits/kernel": "pre_logits.weight",
    "head/kernel": "head.weight",
}
BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/(.+)")
LAYERS = {
    "LayerNorm_0/scale": "norm1.weight",
    "LayerNorm_0/bias": "norm1.bias",
    "LayerNorm_2/scale": "norm2.weight",
    "LayerNorm_2/bias": "norm2.bias",
    "MlpBlock_3/Dense_0/kernel": "mlp.fc1.weight",
    "MlpBlock_3/Dense_0/bias": "mlp.fc1.bias",
    "MlpBlock_3/Dense_1/kernel": "mlp.fc2.weight",
    "MlpBlock_3/Dense_1/bias": "mlp.fc2.bias",
    "MultiHeadDotProductAttention_1/out/kernel": "attn.proj.weight",
    "MultiHeadDotProductAttention_1/out/bias": "attn.proj.bias",
}
FUSED = re.compile(r"MultiHeadDotProductAttention_1/(query|key|value)/(kernel|bias)")


def from_jax(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return tensors by timm's names; a tensor without a counterpart in timm keeps its name."""
    tensors: dict[str, Array] = {}
    thirds: dict[str, dict[str, Array]] = {}
    for full, array in arrays.items():
        name = full.removeprefix("opt/target/")
        block = BLOCK.fullmatch(name)
        if name == "embedding/kernel":
            tensors["patch_embed.proj.weight"] = array.transpose(3, 2, 0, 1)
        elif name in PLAIN:
            tensors[PLAIN[name]] = array.T if name.endswith("kernel") else array
        elif block and (fused := FUSED.fullmatch(block[2])):
            target = f"blocks.{block[1]}.attn.qkv.{_kind(fused[2])}"
            flat = array.reshape(len(array), -1).T if fused[2] == "kernel" else array.reshape(-1)
            thirds.setdefault(target, {})[fused[1]] = flat
        elif block and block[2] in LAYERS:
            rows = array.reshape(-1, array.shape[-1]).T if name.endswith("kernel") else array
            tensors[f"blocks.{block[1]}.{LAYERS[block[2]]}"] = rows
        else:
            tensors[name] = array
    for target, parts in thirds.items():
        if len(parts) == 3:
            tensors[target] = np.concatenate([parts[n] for n in ("query", "key", "value")])
    return {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}


def _kind(leaf: str) -> str:
    return "weight" if leaf == "kernel" else "bias"
