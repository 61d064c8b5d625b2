"""Modules that are orthogonal to earlier ones exactly, by construction or by projection.

A is stored (r, a): its rows span the subspace that the module reads. Earlier modules are given
stacked, (K*r, a), and T*r may be at most a (docs/method.md section 3.4).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


def row_basis(rows: Tensor) -> Tensor:
    """(a, k): orthonormal columns that span the k `rows` (k, a)."""
    q: Tensor = torch.linalg.qr(rows.mT).Q
    return q


def orthonormal_rows(rows: Tensor) -> Tensor:
    """(r, a): the orthonormal factor of a thin QR decomposition, made unique by diag(R) > 0."""
    q, r = torch.linalg.qr(rows.mT)
    signs = torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q)
    unique: Tensor = (q * signs).mT
    return unique


def project_off(rows: Tensor, basis: Tensor) -> Tensor:
    """`rows` (r, a) without their part in the span of `basis` (a, k).

    Twice, because rounding leaves a trace of what was large (Gram-Schmidt with one repetition).
    """
    for _ in range(2):
        rows = rows - (rows @ basis) @ basis.mT
    return rows


@final
class OrthonormalOff(nn.Module):
    """A = Q factor of X (I - P), where P projects on the earlier modules; X (r, a) is free."""

    basis: Tensor | None

    def __init__(self, earlier: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("basis", None if earlier is None else row_basis(earlier))

    def forward(self, x: Tensor) -> Tensor:
        """(r, a) to (r, a)."""
        return orthonormal_rows(x if self.basis is None else project_off(x, self.basis))


@final
class StiefelOff(nn.Module):
    """A = O N^T, where N (a, n) spans the complement of the earlier modules, n = a - K*r.

    O (r, n) has orthonormal rows: a product of Householder reflections whose vectors are free,
    the map that suits long matrices. It is that of `torch.nn.utils.parametrizations.orthogonal`,
    except that the signs of R are constants here, where weight decay cannot reach them.
    """

    complement: Tensor
    signs: Tensor

    def __init__(self, a: Tensor, earlier: Tensor | None) -> None:
        """`a` (r, a) is only asked for its shape, type and device."""
        super().__init__()
        size, taken = a.shape[1], 0 if earlier is None else len(earlier)
        full = torch.eye(size).to(a)
        if earlier is not None:
            full = torch.linalg.qr(earlier.mT, mode="complete").Q
        self.register_buffer("complement", full[:, taken:].contiguous())
        self.register_buffer("signs", a.new_ones(len(a)))

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, r) reflection vectors, of which the entries below the diagonal count, to (r, a)."""
        below = vectors.tril(diagonal=-1)
        tau = 2.0 / (1.0 + below.square().sum(dim=0))  # (r,)
        columns = torch.linalg.householder_product(below, tau) * self.signs  # (n, r)
        a: Tensor = columns.mT @ self.complement.mT
        return a

    @torch.no_grad()
    def right_inverse(self, a: Tensor) -> Tensor:
        """The reflections of a start (r, a) that is orthonormal and in the complement."""
        vectors, tau = torch.geqrf((a @ self.complement).mT)
        # Where LAPACK spares a reflection it means the identity; here it is the mirror.
        signs = torch.diagonal(vectors).sign()
        self.signs = torch.where(tau == 0, -signs, signs)
        return vectors.tril(diagonal=-1)


def keep_orthonormal(module: nn.Module, earlier: Tensor | None) -> None:
    """Make `module.a` the orthonormal factor of a free matrix, off the `earlier` modules."""
    parametrize.register_parametrization(module, "a", OrthonormalOff(earlier))


def keep_on_stiefel(module: nn.Module, earlier: Tensor | None) -> None:
    """Make `module.a`, orthonormal and off the `earlier` modules, a product of reflections."""
    parametrize.register_parametrization(module, "a", StiefelOff(module.a, earlier))  # type: ignore[arg-type]
