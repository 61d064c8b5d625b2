"""Checks before a run starts: the weights exist and the preprocessing is resolved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import try_to_load_from_cache

from clmethods.catalog.facts import ALIASES
from clmethods.config import BackboneConfig, InvalidConfigError, RunConfig, StreamConfig
from clmethods.config import resolve as resolve_run
from clmethods.config.resolve import resolve_backbone, weights_path
from clmethods.user_data import hub_cache as hub

TAGGED = BackboneConfig(name="test_vit.r160_in1k", weights="timm", image_size=32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_weights_of_a_tag_are_found_where_the_hubs_library_puts_them(cache: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    folder = cache / "models--timm--test_vit.r160_in1k"
    file = folder / "snapshots" / revision / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision, encoding="utf-8")
    theirs = try_to_load_from_cache(hub.repository(TAGGED.timm_name), hub.FILE, cache_dir=cache)
    assert str(weights_path(TAGGED)) == theirs == str(file)
    resolved = resolve_backbone(TAGGED)
    assert resolved.weights == "timm"  # another host has its own cache
    assert resolved.weights_sha256 is not None
    with pytest.raises(InvalidConfigError, match="restore the file"):
        resolve_backbone(replace(TAGGED, weights_sha256="0" * 64))


def test_without_a_network_the_message_says_which_file_to_bring(cache: Path) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        resolve_backbone(TAGGED)
    message = str(refused.value)
    assert "backbone.weights: got 'timm'" in message
    assert str(cache) in message
    repository = "timm/test_vit.r160_in1k"
    assert f"Download model.safetensors from the hub's repository {repository}" in message


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_a_missing_file_of_the_papers_backbones_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(InvalidConfigError) as refused:
        resolve_backbone(BackboneConfig(name=name, weights=str(path), image_size=224))
    assert f"No file at {path}. {name} is {ALIASES[name].file}." in str(refused.value)


@pytest.mark.parametrize(
    ("name", "dataset", "meant"),
    [
        ("sup21k", "cifar100", "cifar"),
        ("vit_base_patch16_224.orig_in21k", "cifar100", "cifar"),
        ("sup21k_augreg", "cifar100", "none"),
        ("moco1k", "cifar100", "none"),
        ("sup21k", "digits", "none"),
    ],
)
def test_ref_is_resolved_to_what_the_public_code_does(name: str, dataset: str, meant: Any) -> None:
    backbone = BackboneConfig(name=name, weights="random", image_size=32, normalise="ref")
    run = RunConfig(backbone=backbone, stream=StreamConfig(dataset=dataset))
    assert resolve_run(run).backbone == replace(backbone, normalise=meant)
