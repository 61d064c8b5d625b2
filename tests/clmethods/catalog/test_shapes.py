"""Facts of architectures that the table does not have: asked of timm once, in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clmethods.catalog import shapes
from clmethods.catalog.facts import BACKBONES, BackboneFacts
from clmethods.config import BackboneConfig, InvalidConfigError

ASKED = "test_vit2"
"""A network of timm with a register token, layer scales and no class token."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shapes._facts_from_timm.cache_clear()
    return tmp_path


def test_timm_is_asked_once_per_user(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = BackboneConfig(name=ASKED, weights="random", image_size=32, pooling="avg").facts
    assert asked == BackboneFacts(
        native_size=160,
        patch_size=16,
        width=64,
        blocks=8,
        heads=2,
        mlp_ratio=3.0,
        timm=True,
        poolings=("avg",),
    )
    (kept,) = cache.rglob("*.json")
    shapes._facts_from_timm.cache_clear()
    monkeypatch.setattr(shapes, "ask_timm", lambda *_: pytest.fail("asked again"))
    assert shapes.architecture_facts(ASKED) == asked
    shapes._facts_from_timm.cache_clear()
    kept.write_text("{}", encoding="utf-8")  # as a damaged disk or another version would leave it
    monkeypatch.setattr(shapes, "ask_timm", lambda *_: {"refused": "it was damaged"})
    with pytest.raises(shapes.UnknownBackboneError, match="it was damaged"):
        shapes.architecture_facts(ASKED)


def test_what_timm_does_not_know_is_refused_and_asked_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "ask_timm", lambda *_: {"refused": "timm has no vit_giga."})
    with pytest.raises(InvalidConfigError) as refused:
        BackboneConfig(name="vit_giga", weights="random", image_size=32)
    (issue,) = refused.value.issues
    assert issue.path == "name"
    assert "a Vision Transformer of timm, or one of ['moco1k', 'nano_vit32'" in str(issue)
    assert "timm has no vit_giga." in str(issue)
    assert not list(cache.rglob("*.json"))


def test_an_answer_that_never_comes_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\necho no torch here >&2\nexit 1\n", encoding="utf-8")
    silent.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(silent))
    with pytest.raises(shapes.UnknownBackboneError, match="no torch here"):
        shapes.architecture_facts(ASKED)


def test_a_home_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))
    shapes._facts_from_timm.cache_clear()
    answer = {"native_size": 8, "patch_size": 4, "width": 8, "blocks": 1, "heads": 1}
    monkeypatch.setattr(shapes, "ask_timm", lambda *_: answer | {"poolings": ["avg"]})
    assert shapes.architecture_facts("vit_giga").poolings == ("avg",)
    shapes._facts_from_timm.cache_clear()


def test_planning_with_a_known_backbone_loads_no_torch() -> None:
    program = (
        "import json, sys\n"
        "from clmethods.config import BackboneConfig\n"
        "facts = BackboneConfig(name='sup21k', weights='w.npz', image_size=224).facts\n"
        "json.dump([facts.width, 'torch' in sys.modules, 'timm' in sys.modules], sys.stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [768, False, False]


def test_a_tag_is_not_included_in_an_architecture() -> None:
    plain = BackboneConfig(name="vit_base_patch16_224", weights="random", image_size=224)
    tagged = BackboneConfig(name="sup21k_augreg", weights="random", image_size=224)
    assert tagged.timm_name == "vit_base_patch16_224.augreg_in21k"
    assert tagged.facts is plain.facts is BACKBONES["vit_base_patch16_224"]
    assert tagged.identity() == plain.identity()


def test_pooling_is_in_the_identity_where_it_is_not_the_default() -> None:
    token = BackboneConfig()
    assert token.identity() == {
        "name": "nano_vit32",
        "weights": "shipped",
        "image_size": 16,
        "normalise": "half",
    }
    assert BackboneConfig(pooling="avg").identity() == token.identity() | {"pooling": "avg"}
