"""Weights files in the formats of their authors: read as timm reads them, or refused in full."""

from __future__ import annotations

import argparse
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clmethods.config import BackboneConfig
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.weights import WeightsError, misfit
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

PIXELS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SMALL = BackboneConfig(name="test_vit", weights="random", image_size=32)


def load(path: Path, **changes: Any) -> FrozenBackbone:
    config = replace(SMALL, weights=str(path), **changes)
    return FrozenBackbone(config, torch.float64, "cpu")


def saved(tensors: Tensors, path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


@pytest.fixture(scope="module")
def state() -> Tensors:
    """The weights of timm's smallest Vision Transformer, made for 160 px."""
    return dict(network("test_vit").state_dict())


@pytest.fixture(scope="module")
def file(state: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(state, tmp_path_factory.mktemp("weights") / "small.safetensors")


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


def circular() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["model"] = inner
    return inner


def branching() -> dict[str, Any]:
    """2^40 paths to the same mapping."""
    mapping: dict[str, Any] = {}
    for _ in range(40):
        mapping = {"a": mapping, "b": mapping}
    return mapping


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no pickle at all", "is not a readable checkpoint"),
        (b"", "is not a readable checkpoint"),
        (b"PK\x03\x04 and no archive", "is not a readable checkpoint"),
        (b"\x80\x02" + b"(" * 10_000, "is not a readable checkpoint"),
        (circular(), "its mappings contain themselves"),
        (branching(), "its mappings contain themselves, or are nested more than 32 deep"),
        ([1, 2, 3], "contains no named tensors"),
        ({"a": "text"}, "contains no named tensors"),
        (
            {"pos_embed": torch.zeros(1).expand(1, 10**9, 64)},
            "pos_embed is (1, 1000000000, 64), more than it stores",
        ),
    ],
)
def test_a_hostile_checkpoint_is_refused_in_one_message(
    content: Any, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError) as refused:
        load(path)
    assert "hostile.pth" in str(refused.value)
    assert reason in str(refused.value)
    assert "running code" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_complex_tensors_are_refused(state: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(state | {"norm.bias": torch.zeros(64, dtype=torch.complex64)}, path)
    with pytest.raises(WeightsError, match=r"norm\.bias is not a dense tensor of real numbers"):
        load(path)


@pytest.mark.parametrize("kind", ["bomb", "encrypted", "header"])
def test_a_hostile_npz_is_refused_in_one_message(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.npz"
    if kind == "bomb":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("cls.npy", "w", force_zip64=True) as member,
        ):
            for _ in range(300):
                member.write(bytes(1 << 20))
    else:
        np.savez(path, cls=np.zeros(4, np.float32))
        data = path.read_bytes()
        if kind == "encrypted":  # the flag of both headers of the member
            local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
            changed = bytearray(data)
            changed[local + 6] |= 1
            changed[central + 8] |= 1
            data = bytes(changed)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                header = (
                    b"\x93NUMPY\x01\x00v\x00"
                    + (
                        b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,), }"
                    ).ljust(117)
                    + b"\n"
                )
                archive.writestr("cls.npy", header + bytes(16))
            data = path.read_bytes()
        path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"hostile\.npz is not a readable \.npz file: "):
        load(path)
