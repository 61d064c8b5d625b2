"""Weights of a small network, and a file with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clmethods.nn.checkpoints import Tensors, network
from tests.clmethods.nn.weight_files import saved


@pytest.fixture(scope="module")
def state() -> Tensors:
    """The weights of timm's smallest Vision Transformer, made for 160 px."""
    return dict(network("test_vit").state_dict())


@pytest.fixture(scope="module")
def file(state: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors file with these weights."""
    return saved(state, tmp_path_factory.mktemp("weights") / "small.safetensors")
