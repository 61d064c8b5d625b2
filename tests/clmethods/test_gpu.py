"""The same chain on a GPU: repeatable there, resumable, and close to the CPU's."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from clmethods.checkpoint import fold, state_from_bytes, state_to_bytes
from clmethods.config import (
    BackboneConfig,
    LoracIpcConfig,
    ReadoutConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    resolve,
    stage_chain,
)
from clmethods.evaluate import Evaluator
from clmethods.methods import State
from clmethods.nn.lora import ComposedLinear, SiteAdapter
from clmethods.nn.products.composed_products import Form
from clmethods.training.stage import run_stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]

RUN = RunConfig(
    backbone=BackboneConfig(name="tiny_vit8", weights="random", image_size=8),
    stream=StreamConfig(tasks=5, limit=8),
    method=LoracIpcConfig(rank=2, lora_alpha=2.0, importance_threshold=0.2),
    train=TrainConfig(epochs=2, batch_size=8, device="cuda", precision="float64"),
)


def states(run: RunConfig) -> list[State]:
    """The delta of every stage, each trained on what was stored of its ancestors."""
    run, deltas = resolve(run), list[State]()
    for stage in stage_chain(run):
        outcome = run_stage(run, stage, fold(deltas))
        deltas.append(state_from_bytes(state_to_bytes(outcome.delta)))
    return deltas


def test_a_chain_is_bit_identical_when_repeated() -> None:
    first, second = states(RUN), states(RUN)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_chain_agrees_with_the_cpu() -> None:
    gpu = states(RUN)
    cpu = states(replace(RUN, train=replace(RUN.train, device="cpu")))
    torch.testing.assert_close(gpu[0]["head.weight"], cpu[0]["head.weight"], rtol=1e-6, atol=1e-6)


def test_stored_stages_can_be_evaluated() -> None:
    run = resolve(RUN)
    readouts = [ReadoutConfig(), ReadoutConfig(routing="instance")]
    counts = Evaluator(run, stage_chain(run)).counts(4, fold(states(RUN)), readouts)
    assert all(row.n > 0 for rows in counts.values() for row in rows)


@pytest.mark.parametrize("past", [0, 2])
@pytest.mark.parametrize("form", get_args(Form))
def test_products_of_composed_layers_agree_with_the_cpu(form: Form, past: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    modules = [(draw(2, 7), draw(5, 2)) for _ in range(past + 1)]
    adapter = SiteAdapter(
        *modules[-1], 0.7, modules[:-1], draw(past) if past else None, learn_omega=True
    )
    layer, x, upstream = (
        ComposedLinear(draw(15, 7), draw(15), {1: adapter}, 3),
        draw(4, 7),
        draw(4, 15),
    )
    layer.form_of = lambda shape: form

    def results(device: str) -> list[Tensor]:
        moved = copy.deepcopy(layer).to(device)
        inputs = x.to(device).requires_grad_()
        y = moved(inputs)
        gradients = torch.autograd.grad(y, [inputs, *moved.parameters()], upstream.to(device))
        return [y.detach().cpu(), *(gradient.cpu() for gradient in gradients)]

    torch.testing.assert_close(results("cuda"), results("cpu"), rtol=1e-9, atol=1e-10)


def test_a_compiled_stage_agrees_with_an_eager_one() -> None:
    quick = {"ipc_window": 6, "ipc_beta1": 0.05, "ipc_beta2": 0.05}  # steps before the last six
    method = replace(RUN.method, ipc_unobserved="auto", **quick)
    eager = resolve(replace(RUN, method=method, train=replace(RUN.train, epochs=10)))
    compiled = replace(eager, train=replace(eager.train, compile=True))
    one, other = (run_stage(run, stage_chain(run)[0], {}).delta for run in (eager, compiled))
    torch.testing.assert_close(one["head.weight"], other["head.weight"], rtol=1e-6, atol=1e-8)
