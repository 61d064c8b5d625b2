"""The Gram penalty against its plain definition, and its gradient where it is not smooth."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clmethods.nn.orthogonality import GramPenalty, orthogonality_residual

seeds = st.integers(0, 10**6)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal_rows(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(draw(columns, rows, seed=seed)).Q.T


def plain(current: list[Tensor], past: list[Tensor | None]) -> Tensor:
    """sum_m || Abar Abar^T - I ||_F, one matrix at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for a, before in zip(current, past, strict=True):
        stacked = a if before is None else torch.cat([before, a])
        total = total + torch.linalg.matrix_norm(stacked @ stacked.T - torch.eye(len(stacked)))
    return total


@given(seed=seeds, past=st.integers(0, 3), rank=st.integers(1, 3))
def test_the_batched_penalty_is_the_plain_one(seed: int, past: int, rank: int) -> None:
    """Fan-ins differ between matrices, and so may the number of earlier modules."""
    widths = (4, 7, 4, 7, 4)
    current = [draw(rank, a, seed=seed + i) for i, a in enumerate(widths)]
    modules = [past, past, past, past, 0]
    before = [
        draw(k * rank, a, seed=seed + 20 + i) if k else None
        for i, (k, a) in enumerate(zip(modules, widths, strict=True))
    ]
    torch.testing.assert_close(
        GramPenalty(current, before)(), plain(current, before), rtol=1e-10, atol=1e-10
    )


@given(seed=seeds, rank=st.integers(1, 4), extra=st.integers(0, 4))
def test_i14_orthonormal_modules_cost_nothing_and_equal_ones_cost_root_2r(
    seed: int, rank: int, extra: int
) -> None:
    rows = orthonormal_rows(2 * rank, 2 * rank + extra, seed)
    first, second = rows[:rank], rows[rank:]
    assert float(GramPenalty([first], [None])()) < 1e-10
    assert float(GramPenalty([second], [first])()) < 1e-10
    repeated = float(GramPenalty([first], [first])())
    assert repeated == pytest.approx(math.sqrt(2 * rank), abs=1e-10)


@given(seed=seeds, rank=st.integers(1, 3))
def test_i14_anything_else_costs_something(seed: int, rank: int) -> None:
    rows = orthonormal_rows(2 * rank, 2 * rank + 2, seed)
    first, second = rows[:rank], rows[rank:]
    assert float(GramPenalty([1.1 * second], [first])()) > 1e-3  # a wrong norm
    assert float(GramPenalty([second + 0.1 * first], [first])()) > 1e-3  # an overlap


def test_i18_the_cached_blocks_of_earlier_modules_leave_the_gradient_as_it_was() -> None:
    """They are constants, yet they stand under the root and so shrink the gradient."""
    current, past = draw(2, 6).requires_grad_(), draw(4, 6, seed=1)
    (found,) = torch.autograd.grad(GramPenalty([current], [past])(), [current])
    (expected,) = torch.autograd.grad(plain([current], [past]), [current])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_i19_the_gradient_matches_finite_differences() -> None:
    past = [draw(4, 5, seed=1), None, draw(4, 6, seed=2)]
    current = [draw(2, a, seed=3 + i).requires_grad_() for i, a in enumerate((5, 5, 6))]

    def penalty(*factors: Tensor) -> Tensor:
        return GramPenalty(factors, past)()

    assert torch.autograd.gradcheck(penalty, current)


@pytest.mark.parametrize("past", [None, [[0.0, 1.0, 0.0, 0.0]]])
def test_i19_at_exactly_orthonormal_modules_the_gradient_is_zero(
    past: list[list[float]] | None,
) -> None:
    """Unit vectors make the Gram matrix exact; the plain square root would give NaN here."""
    a = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0]], dtype=torch.float64, requires_grad=True)
    before = None if past is None else torch.tensor(past, dtype=torch.float64)
    penalty = GramPenalty([a], [before])()
    penalty.backward()
    assert float(penalty.detach()) == 0.0
    assert torch.equal(a.grad, torch.zeros_like(a))


def test_the_residual_is_the_largest_cosine_between_spans() -> None:
    angle = 0.3
    first = torch.tensor([[1.0, 0, 0, 0]])
    second = torch.tensor([[0.0, 1, 0, 0]])
    tilted = torch.tensor([[math.cos(angle), 0, math.sin(angle), 0]])
    assert orthogonality_residual(second, first) == pytest.approx(0.0, abs=1e-12)
    assert orthogonality_residual(tilted, first) == pytest.approx(math.cos(angle))
    # The closest of several earlier modules counts, and lengths do not.
    past = torch.cat([second, 5 * first])
    assert orthogonality_residual(3 * tilted, past) == pytest.approx(math.cos(angle))
