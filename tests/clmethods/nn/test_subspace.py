"""Modules that are orthogonal exactly: by projection and by construction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from clmethods.nn.lora import initial_a
from clmethods.nn.subspace import (
    OrthonormalOff,
    keep_on_stiefel,
    keep_orthonormal,
    orthonormal_rows,
    project_off,
    row_basis,
)

seeds = st.integers(0, 10**6)
SIZE, RANK = 12, 3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def is_orthonormal(rows: Tensor) -> bool:
    return torch.allclose(rows @ rows.T, torch.eye(len(rows)).to(rows), atol=1e-10)


@given(seed=seeds, scale=st.floats(1e-3, 1e6))
def test_i17_what_is_projected_off_has_nothing_left_in_the_span(seed: int, scale: float) -> None:
    past = draw(6, SIZE, seed=seed)
    rows = draw(RANK, SIZE, seed=seed + 1) + scale * past[:RANK]
    found = project_off(rows, row_basis(past))
    unit = past / past.norm(dim=1, keepdim=True)
    assert float((unit @ found.T).abs().max()) < 1e-9 * float(rows.norm())
    torch.testing.assert_close(project_off(found, row_basis(past)), found)


@given(seed=seeds)
def test_the_orthonormal_factor_is_unique(seed: int) -> None:
    """Scaling a row of the free matrix by a positive number must not flip or turn its factor."""
    rows = draw(RANK, SIZE, seed=seed)
    q = orthonormal_rows(rows)
    assert is_orthonormal(q)
    torch.testing.assert_close(orthonormal_rows(rows * torch.tensor([[3.0], [0.2], [7.0]])), q)
    assert bool((torch.diagonal(q @ rows.T) > 0).all())


class Holder(nn.Module):
    """Something that has an A."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(a.clone())


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("earlier", [0, 1, 3], ids=lambda k: f"{k} earlier modules")
@pytest.mark.parametrize("mode", ["qr", "householder"])
def test_i17_constructed_modules_stay_orthonormal_whatever_the_steps(
    mode: str, earlier: int, decay: float
) -> None:
    """Three earlier modules of rank 3 and this one fill all twelve dimensions."""
    past = draw(earlier * RANK, SIZE, seed=1) if earlier else None
    generator = torch.Generator().manual_seed(2)
    start = initial_a(RANK, SIZE, "complement", generator, past)
    holder = Holder(start)
    keep: Any = keep_orthonormal if mode == "qr" else keep_on_stiefel
    keep(holder, past)
    torch.testing.assert_close(holder.a.detach(), start, rtol=1e-10, atol=1e-10)
    desired, moved = draw(RANK, SIZE, seed=3), 0.0
    optimizer = torch.optim.Adam(holder.parameters(), lr=0.05, weight_decay=decay)
    for _ in range(12):
        optimizer.zero_grad()
        (holder.a - desired).square().sum().backward()
        optimizer.step()
        assert is_orthonormal(holder.a.detach())
        if past is not None:
            basis = row_basis(past)
            assert float((holder.a.detach() @ basis).abs().max()) < 1e-10
        moved = max(moved, float((holder.a.detach() - start).abs().max()))
    assert moved > 1e-2


def test_the_reflections_are_those_of_torch() -> None:
    a = initial_a(RANK, SIZE, "orthonormal", torch.Generator().manual_seed(0))
    ours, theirs = Holder(a), Holder(a)
    keep_on_stiefel(ours, None)
    parametrizations.orthogonal(theirs, "a", "householder", use_trivialization=False)
    move = draw(SIZE, RANK, seed=4)
    with torch.no_grad():
        ours.parametrizations.a.original.add_(0.3 * move)  # type: ignore[union-attr, operator]
        theirs.parametrizations.a.original.add_(0.3 * move.T.triu(1))  # type: ignore[union-attr, operator]
    torch.testing.assert_close(ours.a, theirs.a, rtol=1e-10, atol=1e-10)
    assert float((ours.a - a).detach().abs().max()) > 0.1


def test_i19_the_derivative_of_the_construction_matches_finite_differences() -> None:
    module = OrthonormalOff(draw(4, 7, seed=1))
    assert torch.autograd.gradcheck(module, [draw(2, 7, seed=2).requires_grad_()])


@given(seed=seeds, earlier=st.integers(0, 3))
def test_a_start_in_the_complement_is_orthonormal_and_clear_of_all_before(
    seed: int, earlier: int
) -> None:
    past = draw(earlier * RANK, SIZE, seed=seed) if earlier else None
    generator = torch.Generator().manual_seed(seed)
    a = initial_a(RANK, SIZE, "complement", generator, past)
    assert is_orthonormal(a)
    if past is not None:
        assert float((a @ row_basis(past)).abs().max()) < 1e-10
    else:
        generator = torch.Generator().manual_seed(seed)
        assert torch.equal(a, initial_a(RANK, SIZE, "orthonormal", generator))
