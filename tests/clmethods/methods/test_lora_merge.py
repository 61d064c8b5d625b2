"""LoRA-merge: fresh modules on top of a frozen sum."""

from __future__ import annotations

import pytest
import torch

from clmethods.config import LoracIpcConfig, LoraMergeConfig
from clmethods.nn.backbone import features
from tests.clmethods.runs import Trained, differences, same_bits, tiny_run, train


@pytest.fixture(scope="module")
def merged() -> Trained:
    return train(tiny_run(LoraMergeConfig(rank=2, lora_alpha=3.0), weight_decay=0.1))


def test_the_update_is_the_plain_sum_of_the_modules(merged: Trained) -> None:
    state, backbone = merged.state(2), merged.backbone
    for snapshot in range(3):
        network = merged.predictor(2, snapshot).network.state_dict()
        found = network["blocks.1.attn.qkv.weight"][16:32] - backbone.weight(1, "k")
        names = [f"lora.{i}.1.k" for i in range(snapshot + 1)]
        expected = 3 / 2 * sum(state[f"{name}.B"] @ state[f"{name}.A"] for name in names)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_stage_stores_its_own_modules_and_nothing_earlier_moves(merged: Trained) -> None:
    for position, delta in enumerate(merged.deltas):
        modules = {name for name in delta if name.startswith("lora.")}
        assert len(modules) == 2 * 12
        assert all(name.startswith(f"lora.{position}.") for name in modules)
        assert delta.keys() - modules == {"head.weight", "head.bias"}


@pytest.mark.parametrize("position", [1, 2])
def test_a_task_starts_where_the_last_one_ended(merged: Trained, position: int) -> None:
    images = merged.data(split="test").images
    pixels = merged.backbone.preprocess(images)
    started = features(merged.method(position).network, pixels)  # type: ignore[attr-defined]
    before = merged.predictor(position - 1, position - 1)
    torch.testing.assert_close(started.detach(), before.features(images), rtol=1e-10, atol=1e-10)
    method, _ = merged.repeat(position)
    ended = features(method.network, pixels).detach()  # type: ignore[attr-defined]
    torch.testing.assert_close(
        ended, merged.predictor(position, position).features(images), rtol=1e-10, atol=1e-10
    )
    assert not torch.allclose(ended, started, atol=1e-3)


def test_snapshots_outlive_later_tasks(merged: Trained) -> None:
    images = merged.data(split="test").images
    for snapshot in range(3):
        then = merged.predictor(snapshot, snapshot).features(images)
        assert same_bits(merged.predictor(2, snapshot).features(images), then)


def test_it_is_lorac_with_every_component_off() -> None:
    """But for the last digits: LoRAC observes importance by dense products."""
    off = LoracIpcConfig(
        rank=2, module_weights="ones", ortho_mode="none", importance_threshold=0.0
    )
    lorac, merged = train(tiny_run(off)), train(tiny_run(LoraMergeConfig(rank=2)))
    ours, theirs = merged.state(2), lorac.state(2)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-7, atol=1e-7, msg=name)
    assert differences(ours, {name: theirs[name] for name in ours}) != sorted(ours)
