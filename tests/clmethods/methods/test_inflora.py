"""InfLoRA: modules that old inputs pass through unseen (I39)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clmethods.config import InfLoraConfig
from clmethods.methods.inflora import InfLora, space_of
from clmethods.nn.backbone import features
from tests.clmethods.runs import STREAM, Trained, differences, same_bits, tiny_run, train

CONFIG = InfLoraConfig(rank=2, sites=("k", "v", "f1"), lambda_e=0.7)
LAYERS = [(block, module) for block in (0, 1) for module in ("attn.qkv", "mlp.fc1")]


@pytest.fixture(scope="module")
def inflora() -> Trained:
    return train(tiny_run(CONFIG, weight_decay=0.1))


def started(trained: Trained, position: int) -> InfLora:
    method = trained.method(position)
    assert isinstance(method, InfLora)
    return method


def inputs_of(trained: Trained, position: int, layer: tuple[int, str], images: Tensor) -> Tensor:
    """(tokens, a): what a layer reads, by a hook of our own."""
    network, found = trained.predictor(position, position).network, []
    module = network.get_submodule(f"blocks.{layer[0]}.{layer[1]}")
    module.register_forward_hook(lambda m, x, y: found.append(x[0].flatten(0, 1)))
    features(network, trained.backbone.preprocess(images))
    return torch.cat(found)


@pytest.mark.parametrize("position", [1, 2])
def test_i39_a_module_does_not_respond_to_protected_inputs(
    inflora: Trained, position: int
) -> None:
    before, after = inflora.state(position - 1), inflora.state(position)
    for block, module in LAYERS:
        space = space_of(before, (block, module), 16)
        assert space.basis.shape[1] >= 1
        eye = torch.eye(space.basis.shape[1]).double()
        torch.testing.assert_close(space.basis.T @ space.basis, eye, rtol=0, atol=1e-10)
        a = after[f"lora.{position}.{block}.{module}.A"]  # (r, a)
        site = "k" if module == "attn.qkv" else "f1"
        b = after[f"lora.{position}.{block}.{site}.B"]
        assert bool(b.any())
        if not space.complement:
            assert float((a @ space.basis).abs().max()) < 1e-8
            old = space.basis @ torch.randn(space.basis.shape[1], 5, dtype=torch.float64)
        else:
            x = torch.randn(16, 5, dtype=torch.float64)
            old = x - space.basis @ (space.basis.T @ x)
        assert float((b @ (a @ old)).abs().max()) < 1e-10


def test_the_down_projection_is_the_tasks_own_and_is_never_trained(inflora: Trained) -> None:
    """At the first task: the leading directions of the frozen network's own inputs."""
    images = inflora.data(0).images
    network = inflora.backbone.build()
    found: list[Tensor] = []
    network.get_submodule("blocks.1.attn.qkv").register_forward_hook(
        lambda m, x, y: found.append(x[0].flatten(0, 1))
    )
    features(network, inflora.backbone.preprocess(images))
    x = torch.cat(found)
    expected = torch.linalg.svd(x.T @ x / len(x)).U[:, :2].T / 3**0.5
    a = inflora.state(0)["lora.0.1.attn.qkv.A"]
    torch.testing.assert_close(a.T @ a, expected.T @ expected, rtol=0, atol=1e-10)

    method, outcome = inflora.repeat(1)
    assert isinstance(method, InfLora)
    fresh = started(inflora, 1)
    for matrix, adapter in method.adapters.items():
        assert same_bits(adapter.a, fresh.adapters[matrix].a)
        assert not fresh.adapters[matrix].b.any()
        assert bool(adapter.b.any())
    moving = {id(p) for p in method.parameters()}
    assert not moving & {id(adapter.a) for adapter in method.adapters.values()}
    ups = sum(adapter.b.numel() for adapter in method.adapters.values())
    assert outcome.method.trainable_parameters == ups + 4 * (16 + 1)


def test_sites_that_read_one_input_share_the_down_projection(inflora: Trained) -> None:
    stored = {n for n in inflora.deltas[2] if n.endswith(".A")}
    assert stored == {f"lora.2.{block}.{module}.A" for block, module in LAYERS}
    adapters = {str(m): a for m, a in started(inflora, 2).adapters.items()}
    assert same_bits(adapters["0.k"].a, adapters["0.v"].a)
    assert not same_bits(adapters["0.k"].a, adapters["1.k"].a)


@pytest.mark.parametrize("position", [1, 2])
def test_a_task_starts_where_the_last_one_ended(inflora: Trained, position: int) -> None:
    images = inflora.data(split="test").images
    pixels = inflora.backbone.preprocess(images)
    expected = inflora.predictor(position - 1, position - 1).features(images)
    found = features(started(inflora, position).network, pixels).detach()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    method, _ = inflora.repeat(position)
    ended = features(method.network, pixels).detach()  # type: ignore[attr-defined]
    expected = inflora.predictor(position, position).features(images)
    torch.testing.assert_close(ended, expected, rtol=1e-10, atol=1e-10)


def test_the_bases_follow_from_the_inputs_after_training(inflora: Trained) -> None:
    for layer in LAYERS:
        space = space_of({}, layer, 16)
        for position in range(3):
            x = inputs_of(inflora, position, layer, inflora.data(position).images)
            energy = 0.7 + 0.3 * position / 3
            space = space.extended(x.T @ x / len(x), energy)
            stored = space_of(inflora.state(position), layer, 16)
            assert stored.complement == space.complement
            torch.testing.assert_close(
                stored.basis @ stored.basis.T, space.basis @ space.basis.T, rtol=0, atol=1e-8
            )
            assert stored.basis.dtype == torch.float64


def test_the_share_grows_with_the_task_and_with_that_the_number_of_tasks_acts() -> None:
    assert [CONFIG.energy(t, 3) for t in range(3)] == pytest.approx([0.7, 0.8, 0.9])
    natural = tiny_run(CONFIG)
    more = replace(natural, stream=replace(STREAM, tasks=5))
    effects = [run.method.effect(0, run.context) for run in (natural, more)]
    assert effects[0] == effects[1]
    assert natural.method.effect(1, natural.context) != more.method.effect(1, more.context)


def test_a_layer_with_nothing_left_learns_nothing_more() -> None:
    trained = train(tiny_run(replace(CONFIG, lambda_e=1.0)))
    last = trained.state(2)
    # The random backbone's layer norm has no bias: tokens sum to 0, and that direction is empty.
    assert last["basis.0.attn.qkv"].shape[1] <= 1
    assert bool(last["complement.0.attn.qkv"])
    assert not last["lora.2.0.attn.qkv.A"].any()
    assert not last["lora.2.0.k.B"].any()
    assert differences(trained.state(1), last) != []
