"""Parametrizations and projections that keep modules exactly orthogonal to earlier ones.

A is stored (r, a): its rows span the subspace that the module reads. Earlier modules are given
stacked, (K*r, a), and T*r may be at most a (docs/method.md section 3.4).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from clmethods.nn.precision import without_autocast


def row_basis(rows: Tensor) -> Tensor:
    """Return orthonormal columns (a, k) that span the `rows` (k, a)."""
    q: Tensor = torch.linalg.qr(rows.mT).Q
    return q


def orthonormal_rows(rows: Tensor) -> Tensor:
    """Return the orthonormal factor (r, a) of a thin QR decomposition, unique by diag(R) > 0."""
    q, r = torch.linalg.qr(rows.mT)
    signs = torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q)
    unique: Tensor = (q * signs).mT
    return unique


def project_off(rows: Tensor, basis: Tensor) -> Tensor:
    """Return `rows` (r, a) without their component in the span of `basis` (a, k).

    The projection is applied twice, because rounding leaves a residue of large components
    (Gram-Schmidt with reorthogonalization).
    """
    for _ in range(2):
        rows = rows - (rows @ basis) @ basis.mT
    return rows


@final
class OrthonormalOff(nn.Module):
    """Map X (r, a) to A = Q factor of X (I - P), where P projects onto the earlier modules."""

    basis: Tensor | None

    def __init__(self, earlier: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("basis", None if earlier is None else row_basis(earlier))

    def forward(self, x: Tensor) -> Tensor:
        """Return A (r, a) for X (r, a)."""
        with without_autocast(x):
            return orthonormal_rows(x if self.basis is None else project_off(x, self.basis))


@final
class StiefelOff(nn.Module):
    """Map reflection vectors to A = O N^T, where N spans the complement of earlier modules.

    N is (a, n) with n = a - K*r, and O (r, n) has orthonormal rows. O is a product of Householder
    reflections with free vectors, the map that suits long matrices. It equals the map of
    `torch.nn.utils.parametrizations.orthogonal`, except that the signs of R are constants here, so
    that weight decay cannot change them.
    """

    complement: Tensor
    signs: Tensor

    def __init__(self, a: Tensor, earlier: Tensor | None) -> None:
        """Take the shape, dtype and device from `a` (r, a); its values are not used."""
        super().__init__()
        size, taken = a.shape[1], 0 if earlier is None else len(earlier)
        full = torch.eye(size).to(a)
        if earlier is not None:
            full = torch.linalg.qr(earlier.mT, mode="complete").Q
        self.register_buffer("complement", full[:, taken:].contiguous())
        self.register_buffer("signs", a.new_ones(len(a)))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return A (r, a) for vectors (n, r), of which the entries below the diagonal are used."""
        with without_autocast(vectors):
            below = vectors.tril(diagonal=-1)
            tau = 2.0 / (1.0 + below.square().sum(dim=0))  # (r,)
            columns = torch.linalg.householder_product(below, tau) * self.signs  # (n, r)
            a: Tensor = columns.mT @ self.complement.mT
        return a

    @torch.no_grad()
    def right_inverse(self, a: Tensor) -> Tensor:
        """Return the reflection vectors of A (r, a), orthonormal and in the complement."""
        vectors, tau = torch.geqrf((a @ self.complement).mT)
        # tau == 0 is the identity in LAPACK, but a reflection in `forward`: flip the sign.
        signs = torch.diagonal(vectors).sign()
        self.signs = torch.where(tau == 0, -signs, signs)
        return vectors.tril(diagonal=-1)


def keep_orthonormal(module: nn.Module, earlier: Tensor | None) -> None:
    """Parametrize `module.a`, orthogonal to `earlier`, by the QR factor of a free matrix."""
    parametrize.register_parametrization(module, "a", OrthonormalOff(earlier))


def keep_on_stiefel(module: nn.Module, earlier: Tensor | None) -> None:
    """Parametrize `module.a`, orthogonal to `earlier`, as a product of reflections.

    The initial value of `module.a` must be orthonormal and orthogonal to `earlier`.
    """
    parametrize.register_parametrization(module, "a", StiefelOff(module.a, earlier))  # type: ignore[arg-type]
