"""DualGPM: the input directions that earlier tasks need, and those that are still free.

A space of input directions is kept by a basis of itself while it is small, and by a basis of its
complement once it fills half of all directions (docs/method.md 9.5, arXiv 2404.00228). All in
float64 on the CPU; C (a, a) is the mean of x x^T over a task's inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

EXACT = 1e-10
"""Singular values below this share of the largest are zero: their vectors are arbitrary."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProtectedSpace:
    """What a new module must not respond to."""

    basis: Tensor
    """M (a, k), orthonormal columns."""
    complement: bool = False
    """False: M spans the protected directions (`remove`); True: the free ones (`retain`)."""

    @classmethod
    def empty(cls, width: int) -> ProtectedSpace:
        """Nothing is protected before the first task."""
        return cls(torch.zeros(width, 0, dtype=torch.float64))

    def free_part(self, moments: Tensor) -> Tensor:
        """C' (a, a): what of C lies in free directions."""
        inside = self.basis @ (self.basis.T @ moments)
        return inside if self.complement else moments - inside

    def down_projection(self, moments: Tensor, rank: int) -> Tensor:
        """(r, a): the leading free directions of a task's inputs, over sqrt(3).

        Directions without energy are left at 0: which ones a decomposition returns for them is
        chance, and they may be protected.
        """
        left, singular = _left(self.free_part(moments), moments)
        chosen = moments.new_zeros(rank, len(moments))
        found = left[:, singular > 0][:, :rank]  # (a, at most r)
        chosen[: found.shape[1]] = found.T / math.sqrt(3.0)
        return chosen

    def extended(self, moments: Tensor, energy: float) -> ProtectedSpace:
        """The space after a task, which then holds the share `energy` of the task's own ||C||^2.

        `energy` counts squared singular values.
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
        held = shares.cumsum(0)
        if self.basis.shape[1] == 0:  # as published: the one that crosses the limit is left out
            added = max(1, int((held < energy).sum()))
        else:  # ... and here it is taken in
            before = 1.0 - float(shares.sum()) + torch.cat([held.new_zeros(1), held[:-1]])
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
        gone = left[:, :dropped]
        rest = self.basis - gone @ (gone.T @ self.basis)
        kept = torch.linalg.svd(rest, full_matrices=False).U[:, : self.basis.shape[1] - dropped]
        return ProtectedSpace(kept.contiguous(), complement=True)


def _left(part: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors and values of `part`, values that are rounding being exactly 0."""
    left, singular, _ = torch.linalg.svd(part)
    limit = EXACT * torch.linalg.matrix_norm(whole, ord=2)
    return left, torch.where(singular > limit, singular, 0.0)
