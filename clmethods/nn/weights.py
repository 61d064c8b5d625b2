"""Weights files of several formats, converted to timm's names and to the shape of one network."""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor

from clmethods.errors import ClmethodsError
from clmethods.nn.jax_names import from_jax

Tensors = dict[str, Tensor]

WRAPPERS = ("state_dict", "model", "teacher", "model_state_dict")
"""Keys under which training programs store the tensors, next to optimizer state and epoch. If a
file has a teacher and a student, the teacher is read: self-supervised methods publish it."""

PREFIXES = {"module", "base_encoder", "backbone", "encoder", "model"}
"""Prefixes of tensor names: wrappers of parallel training and of pre-training methods. MoCo v3 has
a base and a momentum encoder; its evaluation reads the base encoder."""

NOT_BACKBONE = re.compile(
    r"(module\.)?(head|head_dist|fc|pre_logits|projector|predictor|momentum_encoder|mask_token"
    r"|attn_pool|decoder_\w+)(\.|$)"
)
"""Names of tensors that are not part of the backbone: heads, and parts that only pre-training
uses."""

ANCHOR = "patch_embed.proj.weight"
LISTED = 40


class WeightsError(ClmethodsError, RuntimeError):
    """Error for a weights file that does not fit the architecture, or cannot be read."""


def read(path: Path) -> Tensors:
    """Return all tensors of a file in float32, by their names in the file or in timm.

    Raises `WeightsError` if the file cannot be read.
    """
    readers = {".safetensors": _read_safetensors, ".npz": _read_npz}
    tensors = readers.get(path.suffix, _read_pickle)(path)
    return {name: tensor.float() for name, tensor in tensors.items()}


def fit(stored: Tensors, network: VisionTransformer) -> tuple[Tensors, list[str]]:
    """Return the tensors that `network` requires, and the names in the file that are ignored.

    Position embeddings are resampled to the network's grid, bicubic with antialiasing as in timm.
    Raises `WeightsError` with all differences.
    """
    expected: Mapping[str, Tensor] = network.state_dict()
    tensors = _final_norm(_renamed(_without_prefix(stored), network), expected)
    ignored = sorted(n for n in tensors if n not in expected and NOT_BACKBONE.match(n))
    for name in ignored:
        del tensors[name]
    if "pos_embed" in tensors and "pos_embed" in expected:
        tensors["pos_embed"] = _resampled(tensors["pos_embed"], network)
    differs = _differences(expected, tensors)
    if differs:
        raise WeightsError("; ".join(differs))
    return tensors, ignored


def _read_safetensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file: {error}") from error


def _read_npz(path: Path) -> Tensors:
    try:
        with zipfile.ZipFile(path):  # otherwise numpy would also accept a bare array
            arrays = np.load(path, allow_pickle=False)
        with arrays:
            return from_jax({name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path.name} is not a readable .npz file: {error}") from error


def _read_pickle(path: Path) -> Tensors:
    """Read a PyTorch checkpoint with the loader that restores tensors and plain containers."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        objects = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
        raise WeightsError(
            f"{path.name} contains objects that can only be restored by running code "
            f"({', '.join(objects) or 'of an unknown kind'}). It was not opened. Store only its "
            "tensors as .safetensors, on a machine and from a source that you trust."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path.name} is not a readable checkpoint: {reason}") from error
    tensors = {n: t for n, t in _unwrapped(loaded).items() if isinstance(t, Tensor)}
    if not tensors:
        raise WeightsError(
            f"{path.name} contains no named tensors, at the top level or under {list(WRAPPERS)}"
        )
    return tensors


def _unwrapped(loaded: Any) -> Mapping[str, Any]:
    while isinstance(loaded, Mapping):
        inner = next((loaded[w] for w in WRAPPERS if isinstance(loaded.get(w), Mapping)), None)
        if inner is None:
            return loaded
        loaded = inner
    return {}


def _without_prefix(stored: Tensors) -> Tensors:
    """Return the tensors by the backbone's own names; names outside the backbone are unchanged."""
    starts = [name.removesuffix(ANCHOR) for name in stored if name.endswith(ANCHOR)]
    known = [start for start in starts if set(start.split(".")[:-1]) <= PREFIXES]
    prefix = min(known, key=len, default="")
    return {name.removeprefix(prefix): tensor for name, tensor in stored.items()}


def _renamed(stored: Tensors, network: VisionTransformer) -> Tensors:
    """Convert the names that differ in DeiT III and DINOv2 to timm's."""
    tensors = {
        re.sub(r"^(blocks\.\d+)\.gamma_([12])$", r"\1.ls\2.gamma", name): tensor
        for name, tensor in stored.items()
    }
    if "register_tokens" in tensors and network.no_embed_class:
        position = tensors["pos_embed"]
        tensors["reg_token"] = tensors.pop("register_tokens")
        # timm embeds positions of patches only: add the class token's position to the token
        tensors["cls_token"] = tensors["cls_token"] + position[:, :1]
        tensors["pos_embed"] = position[:, 1:]
    return tensors


def _final_norm(stored: Tensors, expected: Mapping[str, Tensor]) -> Tensors:
    """Rename the final norm of the file to the name that timm uses with average pooling.

    With average pooling, timm normalizes after pooling, with a norm of another name. Without this
    step that norm keeps its initial values, as in timm and in the public code, which then trains
    it (D16 of docs/method.md).
    """
    if "fc_norm.weight" not in expected or "fc_norm.weight" in stored:
        return stored
    return {re.sub(r"^norm\.", "fc_norm.", name): tensor for name, tensor in stored.items()}


def _resampled(position: Tensor, network: VisionTransformer) -> Tensor:
    prefix = 0 if network.no_embed_class else network.num_prefix_tokens
    tokens = position.shape[1] - prefix if position.ndim == 3 else 0
    if tokens < 1 or math.isqrt(tokens) ** 2 != tokens:
        return position  # `_differences` reports the shape
    grid: Tensor = resample_abs_pos_embed(
        position, new_size=list(network.patch_embed.grid_size), num_prefix_tokens=prefix
    )
    return grid


def _differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> list[str]:
    """Return all differences; the same difference in several blocks is one entry."""
    grouped: dict[tuple[str, str, str], list[str]] = defaultdict(list)

    def note(kind: str, name: str, detail: str = "") -> None:
        grouped[kind, re.sub(r"^blocks\.\d+\.", "blocks.*.", name), detail].append(name)

    missing, surplus = expected.keys() - actual.keys(), actual.keys() - expected.keys()
    for name in sorted(missing):
        note("missing ", name)
    for name in sorted(surplus):
        note("surplus ", name)
    for name in sorted(expected.keys() & actual.keys()):
        shape, required = tuple(actual[name].shape), tuple(expected[name].shape)
        if shape != required:
            note("", name, f" is {shape}, expected {required}")
        elif not bool(torch.isfinite(actual[name]).all()):
            note("", name, " has values that are not finite")
    entries = [
        f"{kind}{names[0] if len(names) == 1 else f'{pattern} ({len(names)} blocks)'}{detail}"
        for (kind, pattern, detail), names in grouped.items()
    ]
    if "norm.weight" in missing and "fc_norm.weight" in surplus:
        entries.append("the file belongs to a network with pooling: avg")
    more = len(entries) - LISTED
    return entries[:LISTED] + ([f"and {more} more"] if more > 0 else [])
