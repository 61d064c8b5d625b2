"""Penalties against their plain definitions, and their gradients where they are not smooth."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clmethods.nn.orthogonality import (
    CrossPenalty,
    GramPenalty,
    QrPenalty,
    orthogonality_residual,
    penalty_of,
)

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


SOFT = ["gram", "gram_sq", "cross", "cross_l1", "qr"]


def plain_of(mode: str, a: Tensor, past: Tensor) -> Tensor:
    """One matrix, by the formulas of docs/method.md section 3.4."""
    stacked, rank = torch.cat([past, a]), len(a)
    if mode == "gram_sq":
        return (stacked @ stacked.T - torch.eye(len(stacked))).square().sum() / len(stacked)
    if mode == "cross":
        return (past @ a.T).square().sum()
    if mode == "cross_l1":
        return (past @ a.T).abs().sum()
    if mode == "qr":
        q = torch.cat([orthonormal_of(module) for module in [*past.split(rank), a]])
        deviation = q @ q.T - torch.eye(len(q))
        deviation[: len(past), : len(past)] = 0.0
        return torch.linalg.matrix_norm(deviation)
    return plain([a], [past])


def orthonormal_of(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.T).Q.T


@pytest.mark.parametrize("mode", SOFT)
@given(seed=seeds, past=st.integers(1, 3), rank=st.integers(1, 3))
def test_every_penalty_is_the_sum_of_its_plain_form(
    mode: str, seed: int, past: int, rank: int
) -> None:
    widths = (4, 7, 4)
    current = [draw(rank, a, seed=seed + i) for i, a in enumerate(widths)]
    before = [draw(past * rank, a, seed=seed + 20 + i) for i, a in enumerate(widths)]
    expected = sum(plain_of(mode, a, p) for a, p in zip(current, before, strict=True))
    found = penalty_of(mode, current, list(before))()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(seed=seeds, rank=st.integers(1, 3))
def test_i14_squared_over_rows_is_what_a_repeated_module_costs(seed: int, rank: int) -> None:
    rows = orthonormal_rows(rank, rank + 2, seed)
    assert float(penalty_of("gram_sq", [rows], [rows])()) == pytest.approx(1.0)  # 2r over 2r rows
    assert float(penalty_of("gram_sq", [rows], [None])()) == pytest.approx(0.0, abs=1e-12)


@given(seed=seeds)
def test_i15_the_qr_penalty_sees_the_subspace_and_the_gram_penalty_the_module(seed: int) -> None:
    a, past = draw(2, 6, seed=seed), draw(4, 6, seed=seed + 1)
    mixed = (draw(2, 2, seed=seed + 2) + 4 * torch.eye(2)) @ a  # invertible, and well so
    qr, gram = (lambda x: QrPenalty([x], [past])()), (lambda x: GramPenalty([x], [past])())
    torch.testing.assert_close(qr(mixed), qr(a), rtol=1e-8, atol=1e-8)
    assert not torch.allclose(gram(mixed), gram(a), rtol=1e-3)


@pytest.mark.parametrize("mode", ["gram", "gram_sq", "cross", "qr"])
@given(seed=seeds)
def test_i15_a_rotation_of_the_inputs_changes_nothing(mode: str, seed: int) -> None:
    a, past, rotation = draw(2, 6, seed=seed), draw(4, 6, seed=seed + 1), orthonormal_rows(6, 6)
    expected = penalty_of(mode, [a], [past])()
    found = penalty_of(mode, [a @ rotation], [past @ rotation])()
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@given(seed=seeds, rank=st.integers(1, 2))
def test_i16_the_qr_penalty_is_the_cosines_of_the_principal_angles(seed: int, rank: int) -> None:
    """(2 sum_i sum_k cos^2 theta_k)^(1/2), with the angles from a singular value decomposition."""
    past, a = orthonormal_rows(2 * rank, 8, seed), draw(rank, 8, seed=seed + 1)
    cosines = [torch.linalg.svdvals(module @ orthonormal_of(a).T) for module in past.split(rank)]
    expected = (2.0 * torch.cat(cosines).square().sum()).sqrt()
    torch.testing.assert_close(QrPenalty([a], [past])(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", ["cross", "cross_l1", "qr"])
def test_pairs_of_modules_cost_nothing_at_the_first_task(mode: str) -> None:
    a = draw(2, 6).requires_grad_()
    assert float(penalty_of(mode, [a], [None])().detach()) == 0.0


@pytest.mark.parametrize("mode", ["gram_sq", "cross", "cross_l1", "qr"])
def test_i19_gradients_of_every_penalty_match_finite_differences(mode: str) -> None:
    past = [draw(4, 5, seed=1), None, draw(4, 6, seed=2)]
    current = [draw(2, a, seed=3 + i).requires_grad_() for i, a in enumerate((5, 5, 6))]

    def penalty(*factors: Tensor) -> Tensor:
        return penalty_of(mode, factors, past)()

    assert torch.autograd.gradcheck(penalty, current)


@pytest.mark.parametrize("mode", SOFT)
def test_i19_no_penalty_has_a_gradient_that_is_not_a_number_where_it_is_zero(mode: str) -> None:
    rows = torch.eye(6, dtype=torch.float64)
    a = rows[:2].clone().requires_grad_()
    penalty_of(mode, [a], [rows[2:4]])().backward()
    assert a.grad is not None
    assert torch.equal(a.grad, torch.zeros_like(a))


@pytest.mark.parametrize("broken", ["zero", "repeated row"])
def test_i19_a_badly_conditioned_module_costs_its_overlap_instead(broken: str) -> None:
    """The other matrix of the batch keeps its own penalty, and both keep finite gradients."""
    good, bad = draw(2, 6, seed=1).requires_grad_(), draw(2, 6, seed=2)
    bad[1] = 0.0 if broken == "zero" else bad[0]
    bad.requires_grad_()
    past = [draw(4, 6, seed=3), draw(4, 6, seed=4)]
    penalty = QrPenalty([good, bad], list(past))
    value = penalty()
    assert penalty.fallbacks == 1
    expected = QrPenalty([good], [past[0]])() + CrossPenalty([bad], [past[1]])()
    torch.testing.assert_close(value, expected)
    found = torch.autograd.grad(value, [good, bad])
    torch.testing.assert_close(found, torch.autograd.grad(expected, [good, bad]))
    penalty()
    assert penalty.fallbacks == 2
