"""Weights files of several formats, brought to timm's names and to the shape of one network."""

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

from clmethods.nn.jax_names import from_jax

Tensors = dict[str, Tensor]

WRAPPERS = ("state_dict", "model", "teacher", "model_state_dict")
"""Keys under which training programs store the tensors, beside optimiser and epoch. Of a teacher
and a student the teacher is meant: it is what self-supervised methods publish."""

PREFIXES = {"module", "base_encoder", "backbone", "encoder", "model"}
"""What names may begin with: wrappers of parallel training and of pre-training methods. MoCo v3
has a base and a momentum encoder; its own evaluation reads the base encoder."""

NOT_BACKBONE = re.compile(
    r"(module\.)?(head|head_dist|fc|pre_logits|projector|predictor|momentum_encoder|mask_token"
    r"|attn_pool|decoder_\w+)(\.|$)"
)
"""What a file may have beside the backbone: heads, and parts that only pre-training uses."""

ANCHOR = "patch_embed.proj.weight"
LISTED = 40


class WeightsError(RuntimeError):
    """A weights file that does not fit the architecture, or cannot be read."""


def read(path: Path) -> Tensors:
    """All tensors of a file, in float32, by the names that the file or timm gives them."""
    readers = {".safetensors": _read_safetensors, ".npz": _read_npz}
    found = readers.get(path.suffix, _read_pickle)(path)
    return {name: tensor.float() for name, tensor in found.items()}


def fit(found: Tensors, network: VisionTransformer) -> tuple[Tensors, list[str]]:
    """The tensors that `network` takes, and the names in the file that were left out.

    Position embeddings are resampled to the network's grid, bicubic with antialiasing as timm
    does. Raises `WeightsError` with everything that differs.
    """
    expected: Mapping[str, Tensor] = network.state_dict()
    tensors = _final_norm(_renamed(_without_prefix(found), network), expected)
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
        with zipfile.ZipFile(path):  # or numpy would take a bare array, too
            arrays = np.load(path, allow_pickle=False)
        with arrays:
            return from_jax({name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path.name} is not a readable .npz file: {error}") from error


def _read_pickle(path: Path) -> Tensors:
    """A PyTorch checkpoint, by the loader that makes tensors and plain containers only."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        objects = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
        raise WeightsError(
            f"{path.name} holds objects that only running code could restore "
            f"({', '.join(objects) or 'of an unknown kind'}). It is not opened: store its tensors "
            "alone as .safetensors, on a machine and from a source that you trust."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path.name} is not a readable checkpoint: {reason}") from error
    tensors = {n: t for n, t in _unwrapped(loaded).items() if isinstance(t, Tensor)}
    if not tensors:
        raise WeightsError(f"{path.name} holds no tensors by name, nor under {list(WRAPPERS)}")
    return tensors


def _unwrapped(loaded: Any) -> Mapping[str, Any]:
    while isinstance(loaded, Mapping):
        inner = next((loaded[w] for w in WRAPPERS if isinstance(loaded.get(w), Mapping)), None)
        if inner is None:
            return loaded
        loaded = inner
    return {}


def _without_prefix(found: Tensors) -> Tensors:
    """Names as the backbone itself has them; those outside it keep theirs."""
    starts = [name.removesuffix(ANCHOR) for name in found if name.endswith(ANCHOR)]
    known = [start for start in starts if set(start.split(".")[:-1]) <= PREFIXES]
    prefix = min(known, key=len, default="")
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def _renamed(found: Tensors, network: VisionTransformer) -> Tensors:
    """DeiT III's and DINOv2's own names to timm's."""
    tensors = {
        re.sub(r"^(blocks\.\d+)\.gamma_([12])$", r"\1.ls\2.gamma", name): tensor
        for name, tensor in found.items()
    }
    if "register_tokens" in tensors and network.no_embed_class:
        position = tensors["pos_embed"]
        tensors["reg_token"] = tensors.pop("register_tokens")
        # timm gives positions to patches alone, so the class token's is added to the token itself
        tensors["cls_token"] = tensors["cls_token"] + position[:, :1]
        tensors["pos_embed"] = position[:, 1:]
    return tensors


def _final_norm(found: Tensors, expected: Mapping[str, Tensor]) -> Tensors:
    """With average pooling timm normalises after pooling, by a norm of another name.

    Left to itself it stays as it was born, in timm, and in the public code, where it then trains
    (D16 of docs/method.md). Here it is the norm of the file.
    """
    if "fc_norm.weight" not in expected or "fc_norm.weight" in found:
        return found
    return {re.sub(r"^norm\.", "fc_norm.", name): tensor for name, tensor in found.items()}


def _resampled(position: Tensor, network: VisionTransformer) -> Tensor:
    prefix = 0 if network.no_embed_class else network.num_prefix_tokens
    tokens = position.shape[1] - prefix if position.ndim == 3 else 0
    if tokens < 1 or math.isqrt(tokens) ** 2 != tokens:
        return position  # the comparison of shapes says it
    grid: Tensor = resample_abs_pos_embed(
        position, new_size=list(network.patch_embed.grid_size), num_prefix_tokens=prefix
    )
    return grid


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Everything that differs, one entry for what differs alike in several blocks."""
    alike: dict[tuple[str, str, str], list[str]] = defaultdict(list)

    def note(kind: str, name: str, detail: str = "") -> None:
        alike[kind, re.sub(r"^blocks\.\d+\.", "blocks.*.", name), detail].append(name)

    for name in sorted(expected.keys() - found.keys()):
        note("missing ", name)
    for name in sorted(found.keys() - expected.keys()):
        note("surplus ", name)
    for name in sorted(expected.keys() & found.keys()):
        shape, fits = tuple(found[name].shape), tuple(expected[name].shape)
        if shape != fits:
            note("", name, f" is {shape}, expected {fits}")
        elif not bool(torch.isfinite(found[name]).all()):
            note("", name, " has values that are not finite")
    entries = [
        f"{kind}{names[0] if len(names) == 1 else f'{pattern} ({len(names)} blocks)'}{detail}"
        for (kind, pattern, detail), names in alike.items()
    ]
    if "missing norm.weight" in entries and "surplus fc_norm.weight" in entries:
        entries.append("the file is of a network with pooling: avg")
    more = len(entries) - LISTED
    return entries[:LISTED] + ([f"and {more} more"] if more > 0 else [])
