"""DualGPM: input directions that earlier tasks need, and the remaining free directions.

A space of input directions is stored as a basis of the space while it is small, and as a basis of
its complement once it contains more than half of all directions (docs/method.md section 9.5, arXiv
2404.00228). All computation is in float64 on the CPU. C (a, a) is the mean of x x^T over the
inputs of a task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

EXACT = 1e-10
"""Relative threshold below which singular values are set to 0: their vectors are arbitrary."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProtectedSpace:
    """Input directions to which a new module must not respond."""

    basis: Tensor
    """M (a, k), with orthonormal columns."""
    complement: bool = False
    """False: M spans the protected directions (`remove`). True: the free ones (`retain`)."""

    @classmethod
    def empty(cls, width: int) -> ProtectedSpace:
        """Return the space before the first task, without protected directions."""
        return cls(torch.zeros(width, 0, dtype=torch.float64))

    def free_part(self, moments: Tensor) -> Tensor:
        """Return C' (a, a), the projection of C onto the free directions."""
        inside = self.basis @ (self.basis.T @ moments)
        return inside if self.complement else moments - inside

    def down_projection(self, moments: Tensor, rank: int) -> Tensor:
        """Return the leading free directions of a task's inputs, divided by sqrt(3), as (r, a).

        Directions without energy are left at 0: a decomposition returns arbitrary vectors for
        them, which may be protected.
        """
        left, singular = _left(self.free_part(moments), moments)
        chosen = moments.new_zeros(rank, len(moments))
        directions = left[:, singular > 0][:, :rank]  # (a, at most r)
        chosen[: directions.shape[1]] = directions.T / math.sqrt(3.0)
        return chosen

    def extended(self, moments: Tensor, energy: float) -> ProtectedSpace:
        """Return the space after a task; it covers the fraction `energy` of the task's ||C||^2.

        `energy` is a fraction of the sum of squared singular values.
        """
        if self.complement:
            return self._retained(moments, energy)
        grown = self._grown(moments, energy)
        width, columns = grown.shape
        if columns <= width / 2:
            return ProtectedSpace(grown)
        rest = torch.linalg.svd(grown, full_matrices=True).U[:, columns:]  # (a, a - k)
        return ProtectedSpace(rest.contiguous(), complement=True)

    def _grown(self, moments: Tensor, energy: float) -> Tensor:
        left, singular = _left(self.free_part(moments), moments)
        total = moments.square().sum()
        shares = singular.square() / total
        covered = shares.cumsum(0)
        if self.basis.shape[1] == 0:  # as published: exclude the direction that crosses the limit
            added = max(1, int((covered < energy).sum()))
        else:  # as published: include it
            before = 1.0 - float(shares.sum()) + torch.cat([covered.new_zeros(1), covered[:-1]])
            added = int((before < energy).sum())
        fresh = left[:, : min(added, int((singular > 0).sum()))]
        fresh = fresh - self.basis @ (self.basis.T @ fresh)
        return torch.cat([self.basis, torch.linalg.qr(fresh).Q], dim=1)

    def _retained(self, moments: Tensor, energy: float) -> ProtectedSpace:
        left, singular = _left(self.free_part(moments), moments)
        shares = singular.square() / moments.square().sum()
        outside = float(shares.sum()) - torch.cat([shares.new_zeros(1), shares.cumsum(0)[:-1]])
        dropped = int((outside >= 1.0 - energy).sum())
        dropped = min(dropped, int((singular > 0).sum()), self.basis.shape[1])
        if dropped == 0:
            return self
        removed = left[:, :dropped]
        rest = self.basis - removed @ (removed.T @ self.basis)
        kept = torch.linalg.svd(rest, full_matrices=False).U[:, : self.basis.shape[1] - dropped]
        return ProtectedSpace(kept.contiguous(), complement=True)


def _left(part: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Return left singular vectors and values of `part`; values due to rounding become 0."""
    left, singular, _ = torch.linalg.svd(part)
    limit = EXACT * torch.linalg.matrix_norm(whole, ord=2)
    return left, torch.where(singular > limit, singular, 0.0)
