"""The frozen backbone: what it refuses to load, and that nothing can write to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clmethods.catalog.facts import BACKBONES, SITES
from clmethods.config import BackboneConfig, InvalidConfigError
from clmethods.config.resolve import SHIPPED, resolve_backbone
from clmethods.nn.backbone import SITE_SLOTS, FrozenBackbone, features
from clmethods.nn.weights import WeightsError
from tests.clmethods.runs import TINY, same_bits


def frozen(config: BackboneConfig = TINY) -> FrozenBackbone:
    return FrozenBackbone(config, torch.float64, "cpu")


def from_file(path: Path, **changes: object) -> BackboneConfig:
    return replace(TINY, weights=str(path), **changes)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file with the tiny backbone's random weights."""
    path = tmp_path / "tiny.safetensors"
    tensors = frozen().tensors
    save_file({name: t.float().contiguous() for name, t in tensors.items()}, path)
    return path


def test_weights_from_a_file_are_those_of_the_file(weights: Path) -> None:
    loaded, random = frozen(from_file(weights)).tensors, frozen().tensors
    assert loaded.keys() == random.keys()
    assert all(same_bits(loaded[name], random[name]) for name in random)


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.safetensors"
    with pytest.raises(InvalidConfigError, match="No file at") as refused:
        frozen(from_file(path))
    (issue,) = refused.value.issues
    assert issue.path == "backbone.weights"
    assert str(path) in str(issue)


def test_a_wrong_checksum_is_refused_with_both(weights: Path) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        frozen(from_file(weights, weights_sha256="0" * 64))
    message = str(refused.value)
    actual = resolve_backbone(from_file(weights)).weights_sha256
    assert "a file with SHA-256 " + "0" * 64 in message
    assert actual is not None
    assert actual in message
    assert frozen(from_file(weights, weights_sha256=actual)).tensors


def test_shipped_weights_must_match_their_record(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record lies beside the file; a damaged download or checkout is then named as such."""
    shipped = BackboneConfig(name="nano_vit32", weights="shipped")
    monkeypatch.setitem(SHIPPED, "nano_vit32", str(weights.with_suffix("")))
    weights.with_suffix(".json").write_text(json.dumps({"sha256": "1" * 64}), encoding="utf-8")
    with pytest.raises(InvalidConfigError, match="restore the file") as refused:
        resolve_backbone(shipped)
    assert "1" * 64 in str(refused.value)


@pytest.mark.parametrize("name", [n for n, facts in BACKBONES.items() if facts.shipped])
def test_what_ships_loads_and_is_not_random(name: str) -> None:
    size = BACKBONES[name].native_size
    shipped = frozen(BackboneConfig(name=name, image_size=size))
    random = frozen(BackboneConfig(name=name, image_size=size, weights="random"))
    assert resolve_backbone(shipped.config).weights_sha256 is not None
    for block in range(BACKBONES[name].blocks):
        assert not torch.equal(shipped.weight(block, "f1"), random.weight(block, "f1"))
    found = features(shipped.build(), torch.rand(1, 3, size, size, dtype=torch.float64))
    assert found.shape == (1, BACKBONES[name].width)
    assert bool(torch.isfinite(found).all())


def test_a_truncated_file_is_no_safetensors_file(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"tiny\.safetensors is not a readable safetensors"):
        frozen(from_file(weights))


def test_tensors_of_another_architecture_are_listed(weights: Path, tmp_path: Path) -> None:
    tensors = {name: t.float().contiguous() for name, t in frozen().tensors.items()}
    tensors["norm.scale"] = tensors.pop("norm.weight")
    tensors["blocks.0.attn.qkv.bias"] = torch.zeros(24)
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    with pytest.raises(WeightsError) as refused:
        frozen(from_file(path))
    message = str(refused.value)
    assert message.startswith("other.safetensors does not fit tiny_vit8: ")
    assert "missing norm.weight" in message
    assert "surplus norm.scale" in message
    assert "blocks.0.attn.qkv.bias is (24,), expected (48,)" in message


def test_position_embeddings_are_resampled_to_the_image(weights: Path) -> None:
    larger = frozen(from_file(weights, image_size=12))
    assert larger.tensors["pos_embed"].shape == (1, 1 + 9, 16)
    pixels = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    assert features(larger.build(), pixels).shape == (2, 16)


def test_networks_share_the_tensors_and_train_nothing() -> None:
    backbone = frozen()
    network = backbone.build()
    for name, parameter in network.named_parameters():
        assert not parameter.requires_grad
        assert parameter.data_ptr() == backbone.tensors[name].data_ptr(), name
    assert not network.training


def test_replaced_tensors_stay_with_their_network() -> None:
    backbone = frozen()
    weight = torch.zeros(48, 16, dtype=torch.float64)
    network = backbone.build({"blocks.0.attn.qkv.weight": weight})
    assert torch.equal(network.blocks[0].attn.qkv.weight, weight)
    assert bool(backbone.build().blocks[0].attn.qkv.weight.any())


def test_random_weights_neither_read_nor_move_the_global_generator() -> None:
    torch.manual_seed(1)
    first = frozen().tensors
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(2)
    second = frozen().tensors
    assert all(same_bits(first[name], second[name]) for name in first)


def test_sites_tile_the_rows_of_their_modules() -> None:
    backbone = frozen()
    for module in {slot.module for slot in SITE_SLOTS.values()}:
        sites = [site for site in SITES if SITE_SLOTS[site].module == module]
        rows = torch.cat([backbone.weight(1, site) for site in sites])
        assert torch.equal(rows, backbone.tensors[f"blocks.1.{module}.weight"])
    for site in SITES:
        fan_in, fan_out = backbone.facts.fan(site)
        assert backbone.weight(0, site).shape == (fan_out, fan_in)


def test_the_feature_is_the_class_token_after_the_last_norm() -> None:
    network, pixels = frozen().build(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    tokens = network.patch_embed(pixels)
    tokens = torch.cat([network.cls_token.expand(2, -1, -1), tokens], dim=1) + network.pos_embed
    for block in network.blocks:
        tokens = block(tokens)
    expected = network.norm(tokens)[:, 0]
    torch.testing.assert_close(features(network, pixels), expected)


@pytest.mark.parametrize(
    ("normalise", "black", "white"),
    [
        ("half", [-1.0] * 3, [1.0] * 3),
        ("none", [0.0] * 3, [1.0] * 3),
        ("imagenet", [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.64]),
        ("cifar", [-1.8957, -1.89747, -1.59652], [1.84262, 2.00117, 2.02535]),
    ],
)
def test_pixels_have_the_range_that_the_network_expects(
    normalise: str, black: list[float], white: list[float]
) -> None:
    images = torch.tensor([0, 255] * 4, dtype=torch.uint8).expand(1, 8, 8)
    pixels = frozen(replace(TINY, normalise=normalise)).preprocess(images)
    assert pixels.shape == (1, 3, 8, 8)
    assert pixels.dtype == torch.float64
    expected = torch.tensor([black, white], dtype=torch.float64).T  # (3, 2)
    torch.testing.assert_close(pixels[0, :, 0, :2], expected, atol=5e-5, rtol=0)


def test_colours_become_channels_and_grey_three_equal_ones() -> None:
    colours = torch.randint(256, (2, 8, 8, 3), dtype=torch.uint8)
    pixels = frozen().preprocess(colours)
    assert pixels.shape == (2, 3, 8, 8)
    for channel in range(3):
        grey = frozen().preprocess(colours[..., channel])
        assert same_bits(grey[:, 0], pixels[:, channel])
        assert same_bits(grey[:, 0], grey[:, 2])


def test_what_depends_on_the_dataset_must_be_resolved_first() -> None:
    with pytest.raises(ValueError, match="resolve the run first"):
        frozen(replace(TINY, normalise="ref"))


def test_average_pooling_is_the_norm_of_the_mean_of_the_patches() -> None:
    network = frozen(replace(TINY, pooling="avg")).build()
    pixels = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    tokens = torch.cat([network.cls_token.expand(2, -1, -1), network.patch_embed(pixels)], dim=1)
    for block in [lambda x: x + network.pos_embed, *network.blocks]:
        tokens = block(tokens)
    expected = network.fc_norm(tokens[:, 1:].mean(dim=1))
    torch.testing.assert_close(features(network, pixels), expected)
