"""Ridge regression: packing, solving, and the choice of the penalty."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.nn.ridge import CANDIDATES, choose_ridge, pack, ridge_weights, unpack


def problem(seed: int, n: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, width, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(n, 3, generator=generator, dtype=torch.float64)


@given(st.integers(0, 99), st.integers(1, 9))
@settings(max_examples=20)
def test_packing_keeps_every_bit(seed: int, width: int) -> None:
    inputs, _ = problem(seed, 5, width)
    gram = (inputs.T @ inputs).triu()
    gram = gram + gram.triu(1).T
    packed = pack(gram)
    assert packed.shape == (width * (width + 1) // 2,)
    assert torch.equal(unpack(packed, width), gram)


def test_the_weights_minimise_the_penalised_error() -> None:
    inputs, target = problem(0, 20, 6)
    weights = ridge_weights(inputs.T @ inputs, inputs.T @ target, 0.7)
    stacked = torch.cat([inputs, 0.7**0.5 * torch.eye(6)])
    expected = torch.linalg.lstsq(stacked, torch.cat([target, torch.zeros(6, 3)])).solution
    torch.testing.assert_close(weights, expected)


def test_a_penalty_too_small_for_the_rank_is_refused() -> None:
    inputs = torch.ones(3, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="not positive definite"):
        ridge_weights(inputs.T @ inputs, inputs.T @ torch.ones(3, 1).double(), 1e-30)


@given(st.integers(0, 999), st.integers(5, 30), st.integers(2, 12))
@settings(max_examples=30)
def test_the_chosen_penalty_is_the_best_on_the_last_fifth(seed: int, n: int, width: int) -> None:
    inputs, target = problem(seed, n, width)
    target[:, 0] = inputs[:, 0] + 0.1 * target[:, 0]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    cut = int(0.8 * n)
    here, there = order[:cut], order[cut:]

    def error(ridge: float) -> float:
        x, y = inputs[here], target[here]
        weights = torch.linalg.solve(x.T @ x + ridge * torch.eye(width), x.T @ y)
        return float((inputs[there] @ weights - target[there]).square().mean())

    allowed = [c for c in CANDIDATES if c >= 1e-6]
    chosen = choose_ridge(inputs, target, order, 1e-6)
    assert chosen in allowed
    assert error(chosen) == pytest.approx(min(map(error, allowed)), rel=1e-6)


@pytest.mark.parametrize("n", [1, 2])
def test_very_few_images_still_give_a_penalty(n: int) -> None:
    inputs, target = problem(0, n, 4)
    assert choose_ridge(inputs, target, torch.arange(n), 1e-3) >= 1e-3
    assert choose_ridge(inputs, target, torch.arange(n), 1e12) == 1e12
