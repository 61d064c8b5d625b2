"""Online EWC: springs, and what is left without them (I38, I39)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clmethods.config import (
    EwcConfig,
    LoraSequentialConfig,
    MethodConfig,
    SequentialFinetuningConfig,
)
from clmethods.methods import State
from clmethods.methods.ewc import Ewc
from clmethods.nn.backbone import features
from clmethods.nn.fisher import diagonal_fisher
from tests.clmethods.runs import Trained, differences, tiny_run, train

FULL = EwcConfig(ewc_lambda=50.0, ewc_gamma=0.9)
LORA = replace(FULL, scope="lora", rank=2)
PLAIN: dict[str, MethodConfig] = {
    "full": SequentialFinetuningConfig(),
    "lora": LoraSequentialConfig(rank=2),
}
CONFIGS = pytest.mark.parametrize("config", [FULL, LORA], ids=["full", "lora"])


@pytest.fixture(scope="module", params=[FULL, LORA], ids=["full", "lora"])
def ewc(request: pytest.FixtureRequest) -> Trained:
    return train(tiny_run(request.param))


def started(trained: Trained, position: int) -> Ewc:
    method = trained.method(position)
    assert isinstance(method, Ewc)
    return method


def without_fisher(state: State) -> State:
    return {name: t for name, t in state.items() if not name.startswith("fisher.")}


@CONFIGS
def test_i38_without_weight_it_is_sequential_fine_tuning(config: EwcConfig) -> None:
    free = train(tiny_run(replace(config, ewc_lambda=0.0)))
    plain = train(tiny_run(PLAIN[config.scope]))
    assert differences(without_fisher(free.state(2)), plain.state(2)) == []


def test_i38_at_the_first_task_nothing_is_held(ewc: Trained) -> None:
    config = ewc.run.method
    assert isinstance(config, EwcConfig)
    plain = train(tiny_run(PLAIN[config.scope]), until=1)
    assert differences(without_fisher(ewc.state(0)), plain.state(0)) == []
    assert differences(without_fisher(ewc.state(1)), plain.state(1)) != []
    free = tiny_run(replace(config, ewc_lambda=0.0, ewc_gamma=1.0))
    assert config.effect(0, ewc.run.context) == free.method.effect(0, free.context)


def test_i39_the_gradient_of_the_penalty_is_that_of_springs(ewc: Trained) -> None:
    method, state = started(ewc, 2), ewc.state(1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in method.body.weights.values():
            weight += 0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    pixels = ewc.backbone.preprocess(ewc.data(2).images)
    method.extra_terms(pixels, features(method.network, pixels))["consolidation"].backward()  # type: ignore[no-untyped-call]
    assert len(method.body.weights) > 20
    for name, weight in method.body.weights.items():
        moved = weight.detach() - state[name]
        expected = 2 * 50.0 * state[f"fisher.{name}"] * moved
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected, rtol=1e-10, atol=1e-12, msg=name)
    assert method.head.weight.grad is None


def test_the_fisher_information_adds_up_with_decay(ewc: Trained) -> None:
    """It is that of the network after training, over the classes of the task."""
    method, outcome = ewc.repeat(1)
    assert isinstance(method, Ewc)
    data = ewc.data(1)
    targets = torch.searchsorted(torch.tensor(ewc.chain[1].classes), data.labels)
    own = diagonal_fisher(
        method.network,
        method.body.weights,
        (method.head.weight.detach(), method.head.bias.detach()),
        [(ewc.backbone.preprocess(data.images), targets)],
    )
    for name, fisher in own.items():
        expected = 0.9 * ewc.state(0)[f"fisher.{name}"] + fisher
        torch.testing.assert_close(outcome.delta[f"fisher.{name}"], expected, msg=name)
        assert bool((fisher >= 0).all())
    assert not [name for name in outcome.delta if name.startswith("fisher.head")]


def test_labels_can_be_drawn_from_the_prediction() -> None:
    """An untrained head predicts evenly, so drawn labels disagree with the true ones."""
    true = train(tiny_run(LORA, epochs=0), until=0).state(0)
    config = replace(LORA, fisher_label="sampled")
    sampled = train(tiny_run(config, epochs=0), until=0).state(0)
    assert differences(without_fisher(true), without_fisher(sampled)) == []
    assert not torch.allclose(true["fisher.lora.1.f2.B"], sampled["fisher.lora.1.f2.B"], rtol=0.01)


@CONFIGS
def test_stiffer_springs_hold_better(config: EwcConfig) -> None:
    moved = []
    for weight in (0.0, 1e6):
        trained = train(tiny_run(replace(config, ewc_lambda=weight)), until=1)
        before, after = trained.state(0), trained.state(1)
        fisher = {n: t for n, t in before.items() if n.startswith("fisher.")}
        moved.append(
            sum(
                float((f * (after[n[7:]] - before[n[7:]]).square()).sum())
                for n, f in fisher.items()
            )
        )
    assert moved[1] < 0.5 * moved[0]
