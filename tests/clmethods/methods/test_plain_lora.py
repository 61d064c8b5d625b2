"""I12: one task of LoRAC-IPC without its components equals LoRA, implemented here separately."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from clmethods.config import (
    JointLoraConfig,
    LoracIpcConfig,
    LoraSequentialConfig,
    MethodConfig,
    StreamConfig,
)
from clmethods.methods import State
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.backbone import features
from tests.clmethods.runs import Trained, tiny_run, train

RANK, ALPHA, RATE, EPOCHS, BATCH, CLIP = 3, 2.0, 0.02, 3, 16, 0.5
SLICES = {"q": slice(0, 16), "k": slice(16, 32), "v": slice(32, 48)}
NAMES = {"o": "attn.proj", "f1": "mlp.fc1", "f2": "mlp.fc2"}


def independent_lora(trained: Trained, start: dict[str, Tensor]) -> dict[str, Tensor]:
    """LoRA by dense weights, with an Adam, a clip and a schedule of its own.

    `start` holds the initial A, B and head by name. The batches are those of the run.
    """
    network, data = trained.backbone.build(), trained.data()
    pixels = trained.backbone.preprocess(data.images)
    leaves = {name: t.clone().requires_grad_() for name, t in start.items()}
    first = {name: torch.zeros_like(t) for name, t in leaves.items()}
    second = {name: torch.zeros_like(t) for name, t in leaves.items()}
    shuffle, step = trained.method(0).generator("shuffle"), 0
    for epoch in range(EPOCHS):
        rate = 1e-5 + (RATE - 1e-5) * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
        for chosen in torch.split(torch.randperm(len(data), generator=shuffle), BATCH):
            weights = {name: t.clone() for name, t in trained.backbone.tensors.items()}
            for name in start:
                if not name.endswith(".A"):
                    continue
                block, site = name.split(".")[:2]
                delta = ALPHA / RANK * leaves[f"{block}.{site}.B"] @ leaves[name]
                full = f"blocks.{block}.{NAMES.get(site, 'attn.qkv')}.weight"
                weights[full][SLICES.get(site, slice(None))] += delta
            h = functional_call(
                Features(network), {f"net.{n}": w for n, w in weights.items()}, (pixels[chosen],)
            )
            logits = h @ leaves["weight"].T + leaves["bias"]
            gradients = torch.autograd.grad(
                F.cross_entropy(logits, data.labels[chosen]), list(leaves.values())
            )
            norm = torch.sqrt(sum(g.square().sum() for g in gradients))
            step += 1
            for (name, leaf), g in zip(leaves.items(), gradients, strict=True):
                g = g * min(1.0, CLIP / (float(norm) + 1e-6))
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.999 * second[name] + 0.001 * g * g
                root = torch.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
                with torch.no_grad():
                    leaf -= rate * first[name] / (1 - 0.9**step) / root
    return {name: leaf.detach() for name, leaf in leaves.items()}


class Features(torch.nn.Module):
    """The class token of a network, as a module that takes explicit weights."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.net = network

    def forward(self, pixels: Tensor) -> Tensor:
        return features(self.net, pixels)


OFF = LoracIpcConfig(
    rank=RANK,
    lora_alpha=ALPHA,
    module_weights="ones",
    ortho_mode="none",
    importance_threshold=0.0,
)


def one_task(method: MethodConfig) -> Trained:
    stream = StreamConfig(tasks=1, limit=4)
    run = tiny_run(method, stream, epochs=EPOCHS, batch_size=BATCH, lr=RATE, grad_clip=CLIP)
    return train(run)


def factors(state: State, prefix: str) -> dict[str, Tensor]:
    found = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    return found | {"weight": state["head.weight"], "bias": state["head.bias"]}


@pytest.mark.parametrize("change", [{}, {"ortho_mode": "gram", "ortho_lambda": 0.0}])
def test_i12_with_every_component_off_one_task_is_plain_lora(change: dict[str, object]) -> None:
    trained = one_task(replace(OFF, **change))
    method = trained.method(0)
    assert isinstance(method, LoracIpc)
    start: dict[str, Tensor] = {}
    for matrix, adapter in method.adapters.items():
        start[f"{matrix}.A"], start[f"{matrix}.B"] = adapter.a.detach(), adapter.b.detach()
    start["weight"], start["bias"] = method.head.merged()
    expected = independent_lora(trained, start)
    found = factors(trained.state(0), "lora.0.")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-8, msg=name)
        assert not torch.allclose(value, start[name], atol=1e-3)


@pytest.mark.parametrize("kind", [LoraSequentialConfig, JointLoraConfig])
def test_i12_over_one_task_the_controls_are_the_same_lora(kind: type[MethodConfig]) -> None:
    lorac = one_task(OFF).state(0)
    other = one_task(kind(rank=RANK, lora_alpha=ALPHA)).state(0)  # type: ignore[call-arg]
    for name, value in factors(lorac, "lora.0.").items():
        found = factors(other, "lora.")[name]
        torch.testing.assert_close(found, value, rtol=1e-8, atol=1e-8, msg=name)


def test_i12_the_penalty_would_be_noticed() -> None:
    plain, penalised = one_task(OFF), one_task(replace(OFF, ortho_mode="gram"))
    assert not torch.allclose(
        plain.state(0)["lora.0.0.q.A"], penalised.state(0)["lora.0.0.q.A"], atol=1e-3
    )
