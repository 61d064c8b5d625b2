"""Weights files that do not fit are found before anything is trained, without reading values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import save_file

from clmethods.cli import main
from clmethods.config import BackboneConfig, weights_fit
from clmethods.config.resolve import resolve_backbone
from clmethods.config.weights_fit import unfit_weights
from clmethods.nn import timm_subprocess
from tests.clmethods.nn.checkpoints import network


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    unfit_weights.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer in this process, and return the questions that were asked."""
    asked: list[str] = []

    def answer(question: str, backbone: str) -> dict[str, Any]:
        asked.append(backbone)
        commands: dict[str, Callable[[str], dict[str, Any]]] = {"fit": timm_subprocess.fit}
        answered: dict[str, Any] = json.loads(json.dumps(commands[question](backbone)))
        return answered

    monkeypatch.setattr(weights_fit, "ask_timm", answer)
    return asked


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(dict(network("test_vit").state_dict()), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def backbone(file: Path, **changes: Any) -> BackboneConfig:
    fields = {"name": "test_vit", "weights": str(file), "image_size": 32} | changes
    return resolve_backbone(BackboneConfig(**fields))


def test_a_file_that_fits_is_compared_once(file: Path, questions: list[str]) -> None:
    assert unfit_weights(backbone(file)) is None
    unfit_weights.cache_clear()  # as in another process
    assert unfit_weights(backbone(file)) is None
    assert len(questions) == 1
    assert unfit_weights(backbone(file, pooling="avg")) is None
    assert len(questions) == 2


def test_what_is_missing_and_what_differs_is_named(file: Path, questions: list[str]) -> None:
    chosen = backbone(file, name="deit_tiny_distilled_patch16_224")
    issue = unfit_weights(chosen)
    assert issue is not None
    assert issue.path == "backbone.weights"
    message = str(issue)
    assert "small.safetensors does not fit deit_tiny_distilled_patch16_224: " in message
    assert "missing dist_token" in message
    assert "blocks.*.mlp.fc2.weight (6 blocks) is (64, 192), expected (192, 768)" in message


def test_weights_without_a_file_are_not_compared(questions: list[str]) -> None:
    assert unfit_weights(BackboneConfig()) is None
    assert unfit_weights(BackboneConfig(weights="random")) is None
    assert questions == []


def test_without_timm_nothing_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_fit, "ask_timm", lambda *_: {"refused": "no torch here"})
    assert unfit_weights(backbone(file)) is None


def test_training_is_refused_before_a_directory_is_made(file: Path, tmp_path: Path) -> None:
    run = {
        "backbone": {
            "name": "deit_tiny_distilled_patch16_224",
            "weights": str(file),
            "image_size": 32,
        },
        "method": {"kind": "nearest_class_mean"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    out = tmp_path / "model"
    result = CliRunner().invoke(main, ["train", str(tmp_path / "run.yaml"), "-o", str(out)])
    assert result.exit_code == 2
    assert "missing dist_token" in result.output
    assert result.output.count("backbone.weights") == 1
    assert not out.exists()
