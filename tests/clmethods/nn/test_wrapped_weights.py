"""Weights files with several networks, wrappers around names, and tensors of other types."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clmethods.nn.weights import WeightsError, misfit
from tests.clmethods.nn.checkpoints import (
    Tensors,
    as_jax,
    network,
)
from tests.clmethods.nn.weight_files import SMALL, load, saved


def compiled(tensors: Tensors) -> dict[str, Any]:
    return {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}


def body(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}


def below(prefix: str, tensors: Tensors) -> dict[str, Any]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        compiled,
        lambda s: below("module", compiled(s)),
        lambda s: compiled(below("module", s)),
        lambda s: {"state_dict": below("model", compiled(s)), "epoch": 3},
        lambda s: {"model": compiled(below("module", s)), "optimizer": {"state": {0: s}}},
        lambda s: {n.replace("blocks.0.", "blocks.0._orig_mod."): t for n, t in s.items()},
        lambda s: below("net.vit", s),
        lambda s: {"checkpoint": {"network": s}},
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".ckpt"])
def test_names_of_wrappers_are_removed(
    wrap: Any, suffix: str, file: Path, state: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / f"wrapped{suffix}"
    torch.save(wrap(state), path)
    expected, actual = load(file).tensors, load(path).tensors
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def lightning(state: Tensors) -> dict[str, Any]:
    """A file of Lightning whose module has a classifier, a loss and a norm of its own."""
    parts = below("model", body(state)) | {
        "classifier.weight": torch.zeros(5, 64),
        "criterion.weight": torch.ones(5),
        "norm.weight": torch.full((64,), 9.0),
    }
    return {
        "state_dict": parts,
        "pytorch-lightning_version": "2.5.0",
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
    }


def test_other_parts_of_a_lightning_file_are_named(
    file: Path, state: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(lightning(state), path)
    actual = load(path)
    assert torch.equal(actual.tensors["norm.weight"], state["norm.weight"].double())
    assert {"classifier.weight", "criterion.weight", "norm.weight"} <= set(actual.ignored)


def test_of_several_networks_the_option_chooses_one(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    checkpoint = lightning(state)
    average = {name: tensor + 1.0 for name, tensor in body(state).items()}
    checkpoint["state_dict"] |= below("ema_model.module", average)
    torch.save(checkpoint, path)
    with pytest.raises(WeightsError) as refused:
        load(path)
    message = str(refused.value)
    assert "contains 2 networks; set weights_network to one of" in message
    assert "['state_dict.ema_model.module', 'state_dict.model']" in message
    chosen = load(path, weights_network="state_dict.ema_model.module")
    assert torch.equal(chosen.tensors["norm.bias"], average["norm.bias"].double())
    with pytest.raises(WeightsError, match=r"weights_network is 'teacher', allowed: one of"):
        load(path, weights_network="teacher")


@pytest.mark.parametrize(
    ("plain", "averaged"),
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("model", "ema_model.module"),
    ],
)
def test_trained_weights_and_their_average_require_a_choice(
    plain: str, averaged: str, state: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    average = {name: tensor + 1.0 for name, tensor in state.items()}
    torch.save({plain: state} | below(averaged, average), path)
    with pytest.raises(WeightsError) as refused:
        load(path)
    message = str(refused.value)
    assert "contains 2 networks; set weights_network to one of" in message
    assert str(sorted([plain, averaged])) in message
    for chosen, expected in ((plain, state), (averaged, average)):
        actual = load(path, weights_network=chosen).tensors
        assert torch.equal(actual["norm.bias"], expected["norm.bias"].double())


def test_an_average_alone_and_a_teacher_beside_a_student_require_no_choice(
    state: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pth"
    other = {name: tensor + 1.0 for name, tensor in state.items()}
    for content in ({"model_ema": state}, {"student": other, "teacher": state}):
        torch.save(content, path)
        assert torch.equal(load(path).tensors["norm.bias"], state["norm.bias"].double())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".npz"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_tensors_that_are_not_floating_point_are_refused(
    dtype: torch.dtype, suffix: str, state: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / f"codes{suffix}"
    codes = {name: (127 * tensor).round().to(dtype) for name, tensor in body(state).items()}
    if suffix == ".safetensors":
        saved(codes, path)
    elif suffix == ".pth":
        torch.save(codes, path)
    else:
        np.savez(path, **as_jax(codes, heads=2))
    config = replace(SMALL, weights=str(path))
    reason = misfit(config, path, network("test_vit", img_size=32))
    kind = str(dtype).removeprefix("torch.")
    assert f"{len(codes)} tensors have the type {kind}, allowed: float16, bfloat16" in reason
    assert reason.count("blocks.0.") <= 3
    with pytest.raises(WeightsError, match=f"the type {kind}"):
        load(path)


def test_one_tensor_of_whole_numbers_is_named(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(state | {"norm.bias": torch.zeros(64, dtype=torch.int32)}, path)
    expected = r"1 tensor has the type int32, allowed: float16, .* \(norm\.bias\)"
    with pytest.raises(WeightsError, match=expected):
        load(path)
    torch.save(state | {"head.bias": torch.zeros(5, dtype=torch.int32)}, path)
    assert "head.bias" in load(path).ignored


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_point_of_every_precision_is_read(
    dtype: torch.dtype, state: Tensors, tmp_path: Path
) -> None:
    path = saved(
        {name: tensor.to(dtype) for name, tensor in state.items()}, tmp_path / "x.safetensors"
    )
    actual = load(path).tensors["norm.weight"]
    assert torch.equal(actual, state["norm.weight"].to(dtype).double())


def test_the_network_is_part_of_the_identity_only_if_it_is_chosen() -> None:
    plain = SMALL.identity()
    assert "weights_network" not in plain
    chosen = replace(SMALL, weights_network="ema").identity()
    assert chosen == plain | {"weights_network": "ema"}
