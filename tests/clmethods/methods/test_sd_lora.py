"""SD-LoRA: directions, magnitudes, and what happens at the boundary between tasks (I41)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clmethods.config import SdLoraConfig
from clmethods.methods.sd_lora import SdLora
from clmethods.nn.backbone import features
from tests.clmethods.runs import Trained, same_bits, tiny_run, train

REF = SdLoraConfig(rank=2)
CONTINUOUS = replace(REF, sd_carry="continuous")


@pytest.fixture(scope="module")
def ref() -> Trained:
    return train(tiny_run(REF, weight_decay=0.1))


@pytest.fixture(scope="module")
def continuous() -> Trained:
    return train(tiny_run(CONTINUOUS))


def started(trained: Trained, position: int) -> SdLora:
    method = trained.method(position)
    assert isinstance(method, SdLora)
    return method


def features_of(trained: Trained, method: SdLora) -> Tensor:
    pixels = trained.backbone.preprocess(trained.data(split="test").images)
    return features(method.network, pixels).detach()


@pytest.mark.parametrize("position", [1, 2])
def test_i41_the_continuous_function_goes_on_from_where_it_ended(
    continuous: Trained, position: int
) -> None:
    images = continuous.data(split="test").images
    expected = continuous.predictor(position - 1, position - 1).features(images)
    found = features_of(continuous, started(continuous, position))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_i41_the_published_one_jumps(ref: Trained) -> None:
    expected = ref.predictor(0, 0).features(ref.data(split="test").images)
    assert not torch.allclose(features_of(ref, started(ref, 1)), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["ref", "continuous"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_snapshot_is_the_network_at_the_end_of_its_task(
    name: str, position: int, request: pytest.FixtureRequest
) -> None:
    trained: Trained = request.getfixturevalue(name)
    method, _ = trained.repeat(position)
    assert isinstance(method, SdLora)
    images = trained.data(split="test").images
    expected = trained.predictor(position, position).features(images)
    torch.testing.assert_close(features_of(trained, method), expected, rtol=1e-10, atol=1e-10)
    assert same_bits(trained.predictor(2, position).features(images), expected)


def test_the_update_is_that_of_the_formula(ref: Trained, continuous: Trained) -> None:
    for trained, unit in ((ref, True), (continuous, False)):
        state = trained.state(2)
        network = trained.predictor(2, 2).network.state_dict()
        found = network["blocks.0.attn.qkv.weight"][32:] - trained.backbone.weight(0, "v")
        expected = torch.zeros_like(found)
        for i in range(3):
            a, b = state[f"lora.{i}.0.v.A"], state[f"lora.{i}.0.v.B"]
            size = a.norm() * b.norm() if unit and i < 2 else 1.0
            expected += state["magnitudes.2"][i] * (b @ a) / size
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_magnitudes_start_anew_or_are_carried_over(ref: Trained, continuous: Trained) -> None:
    anew = started(ref, 2).magnitudes.detach()
    assert torch.equal(anew, torch.full((3,), 0.8, dtype=torch.float64))
    carried = started(continuous, 2).magnitudes.detach()
    before = continuous.state(1)["magnitudes.1"]
    assert torch.equal(carried, torch.cat([before, before.new_tensor([0.8])]))
    assert bool((before != 0.8).all())


def test_one_magnitude_per_task_serves_all_matrices(ref: Trained) -> None:
    method = started(ref, 2)
    assert [p for p in method.parameters() if p.shape == (3,)] == [method.magnitudes]
    factors = 4 * 2 * (16 + 16)  # two sites in two blocks
    assert sum(p.numel() for p in method.parameters()) == factors + 3 + 2 * (16 + 1)
    images = ref.data(2)
    labels = images.labels
    loss = method.loss(ref.backbone.preprocess(images.images), labels)["cross_entropy"]
    loss.backward()  # type: ignore[no-untyped-call]
    assert method.magnitudes.grad is not None
    assert bool((method.magnitudes.grad[:2] != 0).all())  # B_t is still 0


def test_a_module_that_never_moved_is_no_direction() -> None:
    trained = train(tiny_run(REF, epochs=0))
    images = trained.data(split="test").images
    pixels = trained.backbone.preprocess(images)
    plain = features(trained.backbone.build(), pixels)
    torch.testing.assert_close(trained.predictor(2, 2).features(images), plain)
