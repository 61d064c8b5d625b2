"""Every kind of Vision Transformer that timm has: trained, exported, and read by timm and PEFT."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pytest
import timm
import torch
from peft import PeftModel
from safetensors.torch import save_file
from timm.models import VisionTransformer

from clmethods.catalog import shapes
from clmethods.catalog.facts import BackboneFacts
from clmethods.config import (
    BackboneConfig,
    LoraSequentialConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
)
from clmethods.determinism import open_run
from clmethods.export import ExportedModel, ExportOptions, export_model
from clmethods.methods import METHODS
from clmethods.nn.timm_subprocess import facts
from tests.clmethods.models import finished
from tests.clmethods.nn.checkpoints import network

Pooling = Literal["token", "avg"]


@dataclass(frozen=True)
class Case:
    """Network of timm, the smallest one of its structure, with a pooling and an image size."""

    name: str
    pooling: Pooling = "token"
    size: int | Literal["two patches", "native"] = "two patches"

    def __str__(self) -> str:
        return f"{self.name}-{self.pooling}-{self.size}"


FAST = [
    Case("test_vit"),
    Case("test_vit", "avg"),
    Case("test_vit2", "avg"),  # a register, layer scales, no class token
    Case("test_vit3", "avg"),  # attention pooling in timm
    Case("test_vit4", "avg"),  # norms of queries and keys
    Case("deit_tiny_distilled_patch16_224"),
    Case("vit_xsmall_patch16_clip_224"),  # a norm before the blocks
]
SLOW = [
    Case("vit_tiny_patch16_224"),
    Case("deit3_small_patch16_224", "avg"),
    Case("vit_small_patch14_dinov2"),
    Case("vit_small_patch14_reg4_dinov2"),
    Case("vit_small_patch14_reg4_dinov2", "avg"),
    Case("vit_base_patch16_224_miil"),  # no bias of queries, keys and values
    Case("vit_base_patch32_siglip_256", "avg"),
    Case("vit_base_patch32_siglip_gap_256", "avg"),
    Case("vit_base_patch32_clip_quickgelu_224", "avg"),
    Case("vit_base_patch16_rpn_224", "avg"),
    Case("vit_base_patch14_reg1_tipsv2"),
    Case("vit_base_patch16_radio_v3"),
    Case("vit_base_patch16_radio_v3", "avg"),
    Case("vit_so150m_patch16_reg4_gap_256", "avg"),
    Case("vit_intern300m_patch14_448"),
    Case("vit_intern300m_patch14_448", "avg"),
    Case("vit_medium_patch16_gap_240", "avg"),
    Case("vit_wee_patch16_reg1_gap_256", "avg"),
    Case("vit_dwee_patch16_reg1_gap_256", "avg"),
    Case("flexivit_small"),
    Case("beit3_base_patch16_224"),
    *(
        Case(name, pooling, size)
        for name, pooling in (
            ("test_vit", "token"),
            ("test_vit2", "avg"),
            ("deit_tiny_distilled_patch16_224", "token"),
            ("vit_small_patch14_dinov2", "token"),
        )
        for size in ("native", 384)
        if size != 384 or "patch14" not in name  # 384 is no multiple of 14
    ),
]


@pytest.fixture(autouse=True)
def asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer questions to timm in this process, which has loaded it already."""

    @lru_cache
    def answer(name: str) -> BackboneFacts:
        return shapes._facts(facts(name))

    monkeypatch.setattr(shapes, "_facts_from_timm", answer)


PATIENT = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    "case", [*FAST, *(pytest.param(case, marks=PATIENT) for case in SLOW)], ids=str
)
@torch.no_grad()
def test_what_can_be_trained_can_be_exported(case: Case, tmp_path: Path) -> None:
    known = shapes.architecture_facts(case.name)
    sizes = {"two patches": 2 * known.patch_size, "native": known.native_size}
    size = sizes.get(str(case.size)) or int(case.size)
    weights = tmp_path / "weights.safetensors"
    save_file(network(case.name).state_dict(), weights)
    run = RunConfig(
        backbone=BackboneConfig(
            name=case.name, weights=str(weights), image_size=size, pooling=case.pooling
        ),
        stream=StreamConfig(tasks=2, limit=2),
        method=LoraSequentialConfig(rank=2),
        train=TrainConfig(epochs=1, batch_size=8, lr=0.05, precision="float32"),
    )
    with torch.enable_grad():
        archive = finished(tmp_path / "model", run)
    out = tmp_path / "out"
    export_model(archive, out, ExportOptions(chain=False))

    backbone, stream = open_run(archive.run)
    images = stream.data(tuple(range(10)), "test").images
    state = {name: tensor for delta in archive.deltas() for name, tensor in delta.items()}
    method = METHODS["lora_sequential"]
    expected = method.predictor(archive.run, backbone, state, 1, 1).scores(images)
    pixels = backbone.preprocess(images)
    scale = max(1.0, float(expected.abs().max()))
    base = plain(out / "base")(pixels)
    adapted = PeftModel.from_pretrained(plain(out / "base"), str(out / "peft")).eval()
    for scores in (plain(out / "timm")(pixels), adapted(pixels)):
        torch.testing.assert_close(scores, expected, atol=2e-5 * scale, rtol=0)
        assert not torch.allclose(scores, base, atol=1e-3)
    (out / "timm").rename(tmp_path / "timm")  # so that the adapter is read
    adapter = json.loads((out / "peft" / "adapter_config.json").read_text())
    assert ("head_dist" in adapter["modules_to_save"]) == ("distilled" in case.name)
    from_adapter = ExportedModel(out, {"classes": list(range(10))}, config_of(out / "base"), None)
    torch.testing.assert_close(from_adapter.scores(images), expected, atol=2e-5 * scale, rtol=0)


def config_of(folder: Path) -> dict[str, object]:
    config: dict[str, object] = json.loads((folder / "config.json").read_text())
    return config


def plain(folder: Path) -> torch.nn.Module:
    """Load an exported network with timm alone."""
    model: torch.nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return model.eval()


def structure(name: str, pooling: Pooling) -> tuple[object, ...]:
    """Return what export depends on: pooling, tokens, and the tensors outside the blocks."""
    with torch.device("meta"):
        built: VisionTransformer = timm.create_model(name, num_classes=2, global_pool=pooling)
    return (
        type(built),
        pooling,
        built.no_embed_class,
        built.has_class_token,
        built.num_reg_tokens > 0,
        frozenset(name for name in built.state_dict() if not name.startswith("blocks.")),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_structure_of_timm_is_among_the_cases() -> None:
    """A structure that a newer timm adds must be added to the cases above."""
    tested = {structure(case.name, case.pooling) for case in (*FAST, *SLOW)}
    missing: dict[tuple[object, ...], str] = {}
    for name in timm.list_models(module="vision_transformer") + timm.list_models(module="deit"):
        answer: Any = facts(name)
        for pooling in answer.get("poolings", ()):
            found = structure(name, pooling)
            if found not in tested:
                missing.setdefault(found, f"{name} with {pooling}")
    assert not missing, sorted(missing.values())
