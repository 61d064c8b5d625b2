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
from clmethods.nn.importance import ImportanceTrace, RunningScore, importance_scores
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


@given(
    beta1=st.floats(0.01, 0.99),
    beta2=st.floats(0.01, 0.99),
    steps=st.integers(1, 30),
    constant=st.floats(1e-3, 1e3),
)
def test_i24_every_statistic_of_a_constant_has_a_closed_form(
    beta1: float, beta2: float, steps: int, constant: float
) -> None:
    trace = torch.full((steps, 2), constant, dtype=torch.float64)
    mean = constant * (1 - beta1**steps)
    spread = (
        constant * (1 - beta2) * sum(beta2 ** (steps - s) * beta1**s for s in range(1, steps + 1))
    )
    expected = {
        "product": mean * spread,
        "sensitivity": mean,
        "uncertainty": spread,
        "ema_unbiased": 0.0,  # nothing is uncertain about a constant
        "epoch_mean": constant,
    }
    for stat, value in expected.items():
        found = importance_scores(trace, beta1, beta2, stat)
        desired = torch.full((2,), value, dtype=torch.float64)
        torch.testing.assert_close(found, desired, rtol=1e-7, atol=1e-9 * constant**2 + 1e-12)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=12), st.floats(0.01, 0.99))
def test_i24_without_bias_the_averages_are_weighted_means(
    samples: list[float], beta: float
) -> None:
    weights: list[float] = []
    means: list[float] = []
    spreads: list[float] = []
    for n in range(1, len(samples) + 1):
        weights = [beta ** (n - s) for s in range(1, n + 1)]
        total = sum(w * x for w, x in zip(weights, samples, strict=False))
        means.append(total / sum(weights))
        spreads.append(abs(samples[n - 1] - means[-1]))
    spread = sum(w * x for w, x in zip(weights, spreads, strict=True)) / sum(weights)
    trace = torch.tensor([[sample] for sample in samples], dtype=torch.float64)
    found = float(importance_scores(trace, beta, beta, "ema_unbiased"))
    assert found == pytest.approx(means[-1] * spread, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("last", [1, 3, 7, 99])
def test_a_mean_over_the_last_epoch_takes_its_samples_alone(last: int) -> None:
    trace = torch.rand(7, 3, dtype=torch.float64)
    found = importance_scores(trace, 0.5, 0.5, "epoch_mean", last)
    torch.testing.assert_close(found, trace[-last:].mean(dim=0))


def dense_gradient(layer: ComposedLinear, x: Tensor) -> tuple[Tensor, Tensor]:
    """The effective weight of a layer and the gradient of the squared outputs."""
    weight = layer.effective_weight().detach().requires_grad_()
    (x @ weight.T).square().sum().backward()
    assert weight.grad is not None
    return weight.detach(), weight.grad


@pytest.mark.parametrize("reducer", ["mean", "sum", "l2"])
@pytest.mark.parametrize("target", ["effective", "delta", "current"])
def test_i25_targets_and_reducers_are_those_of_dense_gradients(target: str, reducer: str) -> None:
    """Parts 1 and 2 of three rows each; the gradient of B A is that of the weight, scaled."""
    trace, layer = watched(target=target, reducer=reducer)
    x = torch.rand(2, 5, 4, dtype=torch.float64)
    weight, gradient = dense_gradient(layer, x)
    layer(x).square().sum().backward()
    trace.end_step()
    for part, column in ((1, 3), (2, 0)):
        rows, adapter = slice(3 * part, 3 * part + 3), layer.adapters[str(part)]
        module = (adapter.b @ adapter.a).detach()
        tensor, g = {
            "effective": (weight[rows], gradient[rows]),
            "delta": (0.5 * module, gradient[rows]),
            "current": (module, 0.5 * gradient[rows]),
        }[target]
        entries = (tensor * g).abs()
        expected = {
            "mean": entries.mean(),
            "sum": entries.sum(),
            "l2": entries.square().sum().sqrt(),
        }[reducer]
        torch.testing.assert_close(trace.tensor()[0, column], expected)


@pytest.mark.parametrize("stat", ["product", "sensitivity", "epoch_mean"])
def test_factors_are_scored_entry_by_entry(stat: str) -> None:
    """The gradients are autograd's; the parameters move between the steps."""
    trace, layer = watched(target="factors", stat=stat, beta1=0.6, beta2=0.3, reducer="sum")
    scores = {(part, name): RunningScore(stat, 0.6, 0.3) for part in (1, 2) for name in ("a", "b")}
    for step in range(4):
        layer.zero_grad()
        x = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(step)).double()
        layer(x).square().sum().backward()
        trace.end_step()
        for (part, name), running in scores.items():
            parameter = getattr(layer.adapters[str(part)], name)
            running.add((parameter.detach() * parameter.grad).abs())
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(0.9)
    found = trace.tensor()
    assert found.shape == (1, 4)
    for part, column in ((1, 3), (2, 0)):
        expected = sum(scores[part, name].score().sum() for name in ("a", "b"))  # type: ignore[union-attr]
        torch.testing.assert_close(found[0, column], expected)
    assert found[0, 1] == found[0, 2] == 0


def test_factors_keep_the_last_epoch_if_it_alone_counts() -> None:
    settings = replace(
        TraceSettings.of(LoracIpcConfig()), target="factors", stat="epoch_mean", every=2
    )
    _, layer = watched()
    trace = ImportanceTrace(4, settings, torch.float64, "cpu", lambda step: step >= 3)
    trace.watch(layer, {1: 3})
    samples: list[Tensor] = []
    for step in range(6):  # sampled are 0, 2 and 4, of which 4 belongs to the last epoch
        layer.zero_grad()
        layer(torch.full((1, 4), 1.0 + step, dtype=torch.float64)).sum().backward()
        trace.end_step()
        adapter = layer.adapters["1"]
        samples.append(
            (adapter.a * adapter.a.grad).abs().mean() + (adapter.b * adapter.b.grad).abs().mean()
        )
    torch.testing.assert_close(trace.tensor()[0, 3], samples[4].detach())
