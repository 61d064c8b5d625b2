"""O-LoRA: the penalty, and what is left without it (I38)."""

from __future__ import annotations

import pytest
import torch

from clmethods.config import LoracIpcConfig, LoraMergeConfig, OLoraConfig
from clmethods.methods.o_lora import OLora
from tests.clmethods.runs import Trained, differences, tiny_run, train


@pytest.fixture(scope="module")
def o_lora() -> Trained:
    return train(tiny_run(OLoraConfig(rank=2)))


def started(trained: Trained, position: int) -> OLora:
    method = trained.method(position)
    assert isinstance(method, OLora)
    return method


def test_i38_without_weights_it_is_lora_merge() -> None:
    plain = train(tiny_run(LoraMergeConfig(rank=2)))
    without = train(tiny_run(OLoraConfig(rank=2, lambda1=0.0)))
    assert differences(plain.state(2), without.state(2)) == []


def test_i38_at_the_first_task_the_overlap_has_no_say(o_lora: Trained) -> None:
    plain = train(tiny_run(LoraMergeConfig(rank=2)))
    assert differences(plain.state(0), o_lora.state(0)) == []
    assert differences(plain.state(1), o_lora.state(1)) != []


def test_i38_it_is_lorac_with_constant_weights_and_that_penalty(o_lora: Trained) -> None:
    same = LoracIpcConfig(
        rank=2,
        module_weights="ones",
        ortho_mode="cross_l1",
        ortho_lambda=0.5,
        importance_threshold=0.0,
    )
    lorac = train(tiny_run(same)).state(2)
    for name, tensor in o_lora.state(2).items():
        torch.testing.assert_close(tensor, lorac[name], rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("power", [1, 2])
def test_the_penalty_is_that_of_the_formula(power: int) -> None:
    config = OLoraConfig(rank=2, lambda1=0.7, lambda2=0.3, olora_pow=power)  # type: ignore[arg-type]
    trained = train(tiny_run(config), until=1)
    method, state = started(trained, 2), trained.state(1)
    terms = {name: float(term.detach()) for name, term in method.extra_terms().items()}
    expected, norms = 0.0, 0.0
    for matrix, adapter in method.adapters.items():
        for i in (0, 1):
            for row in state[f"lora.{i}.{matrix}.A"]:
                for own in adapter.a.detach():
                    expected += abs(float(row @ own)) ** power
        norms += sum(float(p.detach().square().sum().sqrt()) for p in (adapter.a, adapter.b))
    assert terms["orthogonality"] == pytest.approx(0.7 * expected)
    assert terms["norm"] == pytest.approx(0.3 * norms)


def test_the_overlap_pulls_at_the_current_a_alone(o_lora: Trained) -> None:
    method = started(o_lora, 2)
    method.extra_terms()["orthogonality"].backward()  # type: ignore[no-untyped-call]
    for adapter in method.adapters.values():
        assert adapter.a.grad is not None
        assert float(adapter.a.grad.norm()) > 0
        assert adapter.b.grad is None
    assert all(tensor.grad is None for tensor in o_lora.state(2).values())


def test_a_norm_of_zero_has_a_gradient_of_zero() -> None:
    """B starts at 0, where the norm has no derivative."""
    trained = train(tiny_run(OLoraConfig(rank=2, lambda2=0.5)), until=0)
    method = started(trained, 1)
    method.extra_terms()["norm"].backward()  # type: ignore[no-untyped-call]
    for adapter in method.adapters.values():
        assert adapter.b.grad is not None
        assert not adapter.b.grad.any()
        assert torch.isfinite(adapter.b.grad).all()


def test_the_penalty_leaves_less_overlap() -> None:
    residuals = [
        train(tiny_run(OLoraConfig(rank=2, lambda1=weight), epochs=8, lr=0.05), until=1)
        .outcomes[1]
        .method.ortho_residual_max
        for weight in (0.0, 5.0)
    ]
    assert residuals[0] is not None
    assert residuals[1] is not None
    assert residuals[1] < residuals[0]
