"""The forms of module weights: where they start, what they conserve, what they share."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clmethods.nn.lora import SiteAdapter
from clmethods.nn.module_weights import ModuleWeights, Rule

weights = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=5).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)
RULES: tuple[Rule, ...] = ("free", "constant_sum", "magnitude")


@given(weights, st.sampled_from(RULES))
def test_i02_every_form_starts_at_the_given_weights(start: Tensor, rule: Rule) -> None:
    norms = torch.linspace(0.5, 3.0, len(start), dtype=torch.float64)
    found = ModuleWeights(start, rule, norms)()
    torch.testing.assert_close(found.detach(), start, rtol=1e-10, atol=1e-10)


@given(weights, st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_normalised_weights_keep_their_sum_wherever_they_go(
    start: Tensor, moves: list[float]
) -> None:
    module = ModuleWeights(start, "constant_sum")
    with torch.no_grad():
        module.value.add_(torch.tensor(moves[: len(start)], dtype=torch.float64))
    torch.testing.assert_close(module().sum().detach(), start.sum())
    assert float(module().detach().min()) > 0


def test_a_single_normalised_weight_cannot_move() -> None:
    module = ModuleWeights(torch.ones(1).double(), "constant_sum")
    with torch.no_grad():
        module.value.add_(7.0)
    assert torch.equal(module().detach(), torch.ones(1).double())


def test_a_magnitude_is_the_norm_of_the_module_it_scales() -> None:
    """omega B A = m (B A) / (||A|| ||B||), and m is what is learned."""
    norms = torch.tensor([2.0, 8.0]).double()
    module = ModuleWeights(torch.tensor([1.0, 0.5]).double(), "magnitude", norms)
    torch.testing.assert_close(module.value.detach(), torch.tensor([2.0, 4.0]).double())
    (gradient,) = torch.autograd.grad(module().sum(), [module.value])
    torch.testing.assert_close(gradient, 1 / norms)


def test_a_module_without_direction_gives_no_division_by_zero() -> None:
    module = ModuleWeights(torch.ones(2), "magnitude", torch.tensor([0.0, 4.0]))
    module().sum().backward()
    assert torch.isfinite(module()).all()
    assert torch.isfinite(module.value.grad).all()  # type: ignore[arg-type]


def test_magnitudes_need_norms() -> None:
    with pytest.raises(ValueError, match="needs the norms"):
        ModuleWeights(torch.ones(2), "magnitude")


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_i03_a_weight_that_is_shared_collects_the_gradients_of_all() -> None:
    def adapters(first: ModuleWeights, second: ModuleWeights) -> list[SiteAdapter]:
        past = [(draw(2, 6, seed=1), draw(5, 2, seed=2))]
        return [
            SiteAdapter(draw(2, 6, seed=s), draw(5, 2, seed=s + 1), 0.5, past, weight)
            for s, weight in ((3, first), (5, second))
        ]

    start, x = torch.full((1,), 0.7).double(), draw(4, 6, seed=9)
    shared, one, other = (ModuleWeights(start) for _ in range(3))
    for pair in (adapters(shared, shared), adapters(one, other)):
        sum(adapter(x).square().sum() for adapter in pair).backward()  # type: ignore[union-attr]
    assert one.value.grad is not None
    torch.testing.assert_close(shared.value.grad, one.value.grad + other.value.grad)


@pytest.mark.parametrize("past", [0, 2])
def test_i06_a_weight_more_than_modules_weighs_the_current_one(past: int) -> None:
    modules = [(draw(2, 6, seed=i), draw(5, 2, seed=10 + i)) for i in range(past)]
    omega = torch.linspace(0.5, 1.5, past + 1).double()
    a, b, x = draw(2, 6, seed=20), draw(5, 2, seed=21), draw(4, 6, seed=22)
    adapter = SiteAdapter(a, b, 0.5, modules, ModuleWeights(omega))
    every = [*modules, (a, b)]
    expected = 0.5 * sum(w * bi @ ai for w, (ai, bi) in zip(omega, every, strict=True))
    torch.testing.assert_close(adapter.update().detach(), expected)
    torch.testing.assert_close(adapter(x).detach(), x @ expected.T)
    assert adapter.current_scale() == pytest.approx(0.5 * float(omega[-1]))
    adapter(x).sum().backward()
    assert bool((adapter.omega.grad != 0).all())


def test_too_many_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="one omega per past module"):
        SiteAdapter(draw(2, 6, seed=0), draw(5, 2, seed=1), 1.0, (), ModuleWeights(torch.ones(2)))
