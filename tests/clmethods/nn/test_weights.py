"""Weights files in the formats of their authors: read as timm reads them, or refused in full."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clmethods.nn.backbone import features
from clmethods.nn.weights import WeightsError
from tests.clmethods.nn.checkpoints import (
    Tensors,
    as_deit,
    as_deit3,
    as_dino,
    as_dinov2,
    as_jax,
    as_moco,
    from_timm,
    network,
)
from tests.clmethods.nn.weight_files import PIXELS, load, saved


@pytest.mark.parametrize(
    ("name", "size", "pooling", "store"),
    [
        ("vit_tiny_patch16_224.augreg_in21k", 32, "avg", as_deit),
        ("deit_tiny_patch16_224", 32, "token", as_deit),
        ("deit_tiny_distilled_patch16_224", 32, "token", as_deit),
        ("deit3_small_patch16_224", 32, "token", as_deit3),
        ("vit_small_patch14_reg4_dinov2", 28, "token", as_dinov2),
    ],
)
def test_features_are_those_of_timm(
    name: str, size: int, pooling: Any, store: Any, tmp_path: Path
) -> None:
    """timm reads the same file under the authors' names, resamples it to the same size and pools.

    One thing it does not do: with average pooling it leaves its own norm as it was born (D16).
    """
    architecture, path = name.partition(".")[0], tmp_path / "weights.pth"
    state = dict(network(architecture).state_dict())
    torch.save(store(state), path)
    ours = load(path, name=name, image_size=size, pooling=pooling)
    theirs = from_timm(architecture, path, img_size=size, global_pool=pooling)
    if pooling == "avg":
        theirs.fc_norm.load_state_dict({n: state[f"norm.{n}"] for n in ("weight", "bias")})
    pixels = PIXELS[:, :, :size, :size]
    expected = theirs.forward_head(theirs.forward_features(pixels), pre_logits=True)
    assert expected.std() > 0.1
    torch.testing.assert_close(features(ours.build(), pixels), expected, atol=1e-6, rtol=0)
    assert {n.partition(".")[0] for n in ours.ignored} <= {"head", "head_dist", "mask_token"}
    assert ours.ignored


def test_original_jax_weights_are_read_as_timm_reads_them(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    np.savez(path, **as_jax(state, heads=2))
    ours, theirs = load(path, image_size=160), from_timm("test_vit", path).state_dict()
    assert ours.tensors.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours.tensors[name], tensor), name
    assert ours.ignored == ("head.bias", "head.weight")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar"])
@pytest.mark.parametrize("wrap", [dict, as_deit, as_moco, as_dino])
def test_checkpoints_are_unwrapped(
    wrap: Any, suffix: str, file: Path, state: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    torch.save(wrap(state), path)
    expected = load(file).tensors
    found = load(path).tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_parts_that_only_pretraining_uses_are_named(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "moco.pth.tar"
    torch.save(as_moco(state), path)
    ignored = load(path).ignored
    assert "head.0.weight" in ignored
    assert "module.predictor.0.weight" in ignored
    assert "module.momentum_encoder.norm.weight" in ignored


@pytest.mark.parametrize(("pooling", "norm"), [("token", "norm"), ("avg", "fc_norm")])
def test_d16_the_final_norm_is_the_files_and_frozen(
    pooling: Any, norm: str, state: Tensors, tmp_path: Path
) -> None:
    """With average pooling, timm has the norm elsewhere; the public code trains a fresh one."""
    path = tmp_path / "moco.pth.tar"
    torch.save(as_moco(state), path)
    built = load(path, pooling=pooling).build()
    for kind in ("weight", "bias"):
        parameter = built.get_parameter(f"{norm}.{kind}")
        assert torch.equal(parameter, state[f"norm.{kind}"].double())
        assert not parameter.requires_grad


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"norm.weight": None}, ["missing norm.weight"]),
        ({"blocks.2.ls1.gamma": torch.ones(64)}, ["surplus blocks.2.ls1.gamma"]),
        ({"norm.bias": torch.ones(3)}, ["norm.bias is (3,), expected (64,)"]),
        (
            {"norm.bias": torch.full((64,), torch.nan)},
            ["norm.bias has values that are not finite"],
        ),
        (
            {"pos_embed": torch.zeros(1, 102, 64)},  # of a network with two tokens beside patches
            ["pos_embed is (1, 102, 64), expected (1, 5, 64)"],
        ),
        (
            {"patch_embed.proj.weight": torch.zeros(64, 3, 32, 32)},
            ["patch_embed.proj.weight is (64, 3, 32, 32), expected (64, 3, 16, 16)"],
        ),
        (
            {f"blocks.{i}.attn.qkv.bias": None for i in range(6)},
            ["missing blocks.*.attn.qkv.bias (6 blocks)"],
        ),
        (
            {"norm.weight": None, "fc_norm.weight": torch.ones(64)},
            ["surplus fc_norm.weight", "the file belongs to a network with pooling: avg"],
        ),
    ],
)
def test_all_that_differs_is_listed(
    change: dict[str, Any], messages: list[str], state: Tensors, tmp_path: Path
) -> None:
    tensors = {name: t for name, t in (state | change).items() if t is not None}
    with pytest.raises(WeightsError) as refused:
        load(saved(tensors, tmp_path / "changed.safetensors"))
    assert str(refused.value).startswith("changed.safetensors does not fit test_vit: ")
    for message in messages:
        assert message in str(refused.value)


def test_another_architecture_is_refused_in_a_readable_length(file: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        load(file, name="deit_tiny_distilled_patch16_224")
    message = str(refused.value)
    assert "missing dist_token" in message
    assert "missing blocks.*.mlp.fc1.weight (6 blocks)" in message
    assert "blocks.*.mlp.fc2.weight (6 blocks) is (64, 192), expected (192, 768)" in message
    assert len(message) < 3000


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_a_truncated_file_is_refused(suffix: str, state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".npz":
        np.savez(path, **as_jax(state, heads=2))
    elif suffix == ".pth":
        torch.save(state, path)
    else:
        saved(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=rf"cut{suffix} is not a readable "):
        load(path)


def test_a_checkpoint_that_must_run_code_is_not_opened(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "pickled.pth"
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1)}, path)
    with pytest.raises(
        WeightsError, match=r"contains objects .*\(argparse\.Namespace\)"
    ) as refused:
        load(path)
    assert "Store only its tensors as .safetensors" in str(refused.value)


def test_arrays_that_must_run_code_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, cls=np.array([object()]))
    with pytest.raises(WeightsError, match=r"objects\.npz is not a readable \.npz file"):
        load(path)


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.pth"
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match=r"empty\.pth contains no named tensors"):
        load(path)
