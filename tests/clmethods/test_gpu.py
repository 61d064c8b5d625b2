"""The same chain on a GPU: repeatable there, resumable, and close to the CPU's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

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
