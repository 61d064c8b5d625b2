"""A small network whose weights tests write to files and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from clmethods.config import BackboneConfig
from clmethods.nn.backbone import FrozenBackbone
from tests.clmethods.nn.checkpoints import (
    Tensors,
)

PIXELS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SMALL = BackboneConfig(name="test_vit", weights="random", image_size=32)


def load(path: Path, **changes: Any) -> FrozenBackbone:
    """The small network with the weights of a file, in float64."""
    config = replace(SMALL, weights=str(path), **changes)
    return FrozenBackbone(config, torch.float64, "cpu")


def saved(tensors: Tensors, path: Path) -> Path:
    """The path, after the tensors are written to it as safetensors."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path
