"""Importance: scores in closed form, and what is measured while a matrix trains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clmethods.config import LoracIpcConfig
from clmethods.config.methods.lorac_effect import TraceSettings
from clmethods.nn.importance import ImportanceTrace, importance_scores
from clmethods.nn.lora import ComposedLinear, SiteAdapter


@given(
    beta1=st.floats(0.01, 0.99),
    beta2=st.floats(0.0, 0.99),
    steps=st.integers(1, 40),
    constant=st.floats(1e-3, 1e3),
)
def test_i24_constant_importance_has_a_closed_form(
    beta1: float, beta2: float, steps: int, constant: float
) -> None:
    sensitivity = constant * (1 - beta1**steps)
    uncertainty = (
        constant * (1 - beta2) * sum(beta2 ** (steps - s) * beta1**s for s in range(1, steps + 1))
    )
    trace = torch.full((steps, 3), constant, dtype=torch.float64)
    expected = torch.full((3,), sensitivity * uncertainty, dtype=torch.float64)
    torch.testing.assert_close(importance_scores(trace, beta1, beta2), expected)


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=12), st.floats(0.01, 0.99), st.floats(0, 0.99)
)
def test_i24_scores_of_any_trace_follow_the_recursion(
    samples: list[float], beta1: float, beta2: float
) -> None:
    """In plain floats; a falling importance counts as uncertain just as a rising one."""
    mean = spread = 0.0
    for sample in samples:
        mean = beta1 * mean + (1 - beta1) * sample
        spread = beta2 * spread + (1 - beta2) * abs(sample - mean)
    trace = torch.tensor([[sample] for sample in samples], dtype=torch.float64)
    assert float(importance_scores(trace, beta1, beta2)) == pytest.approx(mean * spread)


def test_i24_without_averaging_every_score_is_zero() -> None:
    trace = torch.rand(5, 3, dtype=torch.float64)
    assert torch.equal(importance_scores(trace, 0.0, 0.0), torch.zeros(3, dtype=torch.float64))


def test_a_task_without_steps_has_zero_scores() -> None:
    assert torch.equal(importance_scores(torch.zeros(0, 3), 0.5, 0.5), torch.zeros(3))


def watched(**changes: Any) -> tuple[ImportanceTrace, ComposedLinear]:
    """A fused layer with two adapted parts, 1 and 2, which fill columns 3 and 0 of four."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    adapters = {part: SiteAdapter(draw(2, 4), draw(3, 2), 0.5) for part in (1, 2)}
    layer = ComposedLinear(draw(9, 4), None, adapters, 3)
    settings = replace(TraceSettings.of(LoracIpcConfig()), **{"window": 10} | changes)
    trace = ImportanceTrace(4, settings, torch.float64, "cpu")
    trace.watch(layer, {1: 3, 2: 0})
    return trace, layer


def test_i25_the_hook_measures_mean_abs_weight_times_gradient() -> None:
    trace, layer = watched()
    x = torch.rand(2, 5, 4, dtype=torch.float64)
    weight = layer.effective_weight().detach().requires_grad_()
    (x @ weight.T).square().sum().backward()
    dense = (weight * weight.grad).abs().detach()
    layer(x).square().sum().backward()
    trace.end_step()
    none = torch.zeros((), dtype=torch.float64)  # nobody fills these columns
    expected = torch.stack([dense[6:9].mean(), none, none, dense[3:6].mean()])
    torch.testing.assert_close(trace.tensor()[0], expected)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("window", [2, 4, 50])
def test_the_last_samples_are_kept(every: int, window: int) -> None:
    trace, layer = watched(every=every, window=window)
    for step in range(7):
        layer(torch.full((1, 4), 1.0 + step, dtype=torch.float64)).sum().backward()
        trace.end_step()
    kept = list(range(0, 7, every))[-window:]
    found = trace.tensor()
    assert found.shape == (len(kept), 4)
    # The gradient of a sum is the input, so samples are proportional to it.
    ratios = found[:, 0] / found[0, 0]
    expected = torch.tensor([(1.0 + s) / (1.0 + kept[0]) for s in kept], dtype=torch.float64)
    torch.testing.assert_close(ratios, expected)


def test_a_task_without_steps_leaves_an_empty_trace() -> None:
    assert watched()[0].tensor().shape == (0, 4)
