"""Weights files of several formats, converted to timm's names and to the shape of one network."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor

from clmethods.config.backbone import BackboneConfig
from clmethods.nn.weight_files import StoredTensors, WeightsError, network_in, read
from clmethods.nn.weight_files.networks import NOT_BACKBONE

__all__ = ["Tensors", "WeightsError", "load_weights", "misfit"]

Tensors = dict[str, Tensor]

LISTED = 40
"""Largest number of differences that a message lists."""

FLOATING_POINT = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights. Other types store codes, whose scale is not in the tensor."""
NAMED = 3
"""Largest number of tensors of another type that a message names."""


def load_weights(
    config: BackboneConfig, path: Path, network: VisionTransformer
) -> tuple[Tensors, list[str]]:
    """Return the tensors of a file that `network` requires in float32, and the ignored names.

    Names, shapes and types are compared before values are read. Raises `WeightsError` if the file
    cannot be read, and with all differences if it does not fit.
    """
    _fitted(config, read(path, shapes=True), path, network)
    return _fitted(config, read(path), path, network)


def misfit(config: BackboneConfig, path: Path, network: VisionTransformer) -> str:
    """Return why a file does not fit a network, without reading values; empty if it fits."""
    try:
        _fitted(config, read(path, shapes=True), path, network)
    except WeightsError as error:
        return str(error)
    return ""


def _fitted(
    config: BackboneConfig, stored: StoredTensors, path: Path, network: VisionTransformer
) -> tuple[Tensors, list[str]]:
    try:
        own, others = network_in(stored, config.weights_network)
        tensors, ignored = fit(own, network)
    except WeightsError as error:
        raise WeightsError(f"{path.name} does not fit {config.name}: {error}") from error
    return tensors, sorted([*ignored, *others])


def fit(stored: Tensors, network: VisionTransformer) -> tuple[Tensors, list[str]]:
    """Return the tensors that `network` requires in float32, and the names that are ignored.

    Position embeddings are resampled to the network's grid, bicubic with antialiasing as in timm.
    Raises `WeightsError` with all differences.
    """
    expected: Mapping[str, Tensor] = network.state_dict()
    weights = {n: t for n, t in stored.items() if n in expected or not NOT_BACKBONE.match(n)}
    other_types = _other_types(weights)
    tensors = _final_norm(_renamed(stored, network), expected)
    ignored = sorted(n for n in tensors if n not in expected and NOT_BACKBONE.match(n))
    for name in ignored:
        del tensors[name]
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise WeightsError(f"{name} is not a dense tensor of real numbers")
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    if "pos_embed" in tensors and "pos_embed" in expected:
        tensors["pos_embed"] = _resampled(tensors["pos_embed"], network)
    differs = [*other_types, *_differences(expected, tensors)]
    if differs:
        raise WeightsError("; ".join(differs))
    return tensors, ignored


def _other_types(tensors: Tensors) -> list[str]:
    """Return an entry for each type that is not of `FLOATING_POINT`, with the first names."""
    names: dict[torch.dtype, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATING_POINT:
            names[tensor.dtype].append(name)
    allowed = ", ".join(_type_name(dtype) for dtype in FLOATING_POINT)
    return [
        f"{len(found)} {'tensor has' if len(found) == 1 else 'tensors have'} the type "
        f"{_type_name(dtype)}, allowed: {allowed} ({', '.join(found[:NAMED])}"
        f"{', ...' if len(found) > NAMED else ''})"
        for dtype, found in names.items()
    ]


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _renamed(stored: Tensors, network: VisionTransformer) -> Tensors:
    """Convert the names that differ in DeiT III and DINOv2 to timm's."""
    tensors = {
        re.sub(r"^(blocks\.\d+)\.gamma_([12])$", r"\1.ls\2.gamma", name): tensor
        for name, tensor in stored.items()
    }
    embedded = {"register_tokens", "pos_embed", "cls_token"} <= tensors.keys()
    if embedded and network.no_embed_class:
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
        elif not actual[name].is_meta and not bool(torch.isfinite(actual[name]).all()):
            note("", name, " has values that are not finite")
    entries = [
        f"{kind}{names[0] if len(names) == 1 else f'{pattern} ({len(names)} blocks)'}{detail}"
        for (kind, pattern, detail), names in grouped.items()
    ]
    if "norm.weight" in missing and "fc_norm.weight" in surplus:
        entries.append("the file belongs to a network with pooling: avg")
    more = len(entries) - LISTED
    return entries[:LISTED] + ([f"and {more} more"] if more > 0 else [])
