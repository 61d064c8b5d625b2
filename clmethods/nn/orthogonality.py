"""Penalties on overlaps between LoRA modules of different tasks, and the remaining overlap.

The current module of a matrix is given as A (r, a), the earlier ones stacked as (K*r, a). Matrices
of equal shape are processed as one batched product. Only the current A receives a gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

WELL_CONDITIONED = 1e-6
"""Smallest relative diagonal entry of R for which a QR decomposition is differentiated."""


class Penalty(ABC):
    """Penalty term: a sum over matrices of the cost of their current module."""

    def __init__(self, current: Sequence[Tensor], past: Sequence[Tensor | None]) -> None:
        """Take, per matrix, the trainable A (r, a) and the stacked earlier modules (K*r, a)."""
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, (a, before) in enumerate(zip(current, past, strict=True)):
            by_shape[(a.shape[1], 0 if before is None else before.shape[0])].append(index)
        self._groups: list[tuple[list[Tensor], Tensor | None]] = []
        for (_, modules), members in by_shape.items():
            factors = [current[index] for index in members]
            stacked = [p for index in members if (p := past[index]) is not None]
            self._groups.append((factors, torch.stack(stacked) if modules else None))

    def __call__(self) -> Tensor:
        """Return the scalar penalty; 0 without a gradient if there are no matrices."""
        sums = [
            self._costs(group, torch.stack(factors), past).sum()
            for group, (factors, past) in enumerate(self._groups)
        ]
        return sum(sums[1:], start=sums[0]) if sums else torch.zeros(())

    @abstractmethod
    def _costs(self, group: int, a: Tensor, past: Tensor | None) -> Tensor:
        """Return the costs (n,) of the matrices of a group.

        `a` (n, r, a) are the current modules, `past` (n, K*r, a) the earlier ones.
        """


@final
class GramPenalty(Penalty):
    """Penalty sum_m || Abar_m Abar_m^T - I ||_F, where Abar_m stacks all modules' A (section 3.1).

    The norm is not squared by default. With `squared` it is squared and divided by the number of
    rows. The blocks between earlier modules are constants, computed once per task.
    """

    def __init__(
        self, current: Sequence[Tensor], past: Sequence[Tensor | None], *, squared: bool = False
    ) -> None:
        super().__init__(current, past)
        self.squared = squared
        self._constants = [
            None if stacked is None else _squared_distance_to_identity(stacked)  # (n,)
            for _, stacked in self._groups
        ]

    def _costs(self, group: int, a: Tensor, past: Tensor | None) -> Tensor:
        squared = _squared_distance_to_identity(a)  # (n,)
        rows, constant = a.shape[1], self._constants[group]
        if past is not None and constant is not None:
            cross = past @ a.transpose(1, 2)  # (n, K*r, r)
            squared = squared + constant + 2.0 * cross.square().sum(dim=(1, 2))
            rows += past.shape[1]
        return squared / rows if self.squared else _norm(squared)


@final
class CrossPenalty(Penalty):
    """Penalty sum_m sum_{i<t} || A_i A_t^T ||_F^2, or the sum of absolute entries with `l1`.

    The squared form is that of the O-LoRA paper, the `l1` form that of its code (section 3.4). The
    norms of the modules are not constrained.
    """

    def __init__(
        self, current: Sequence[Tensor], past: Sequence[Tensor | None], *, l1: bool = False
    ) -> None:
        super().__init__(current, past)
        self.l1 = l1

    def _costs(self, group: int, a: Tensor, past: Tensor | None) -> Tensor:
        if past is None:
            return a.new_zeros(len(a))
        cross = past @ a.transpose(1, 2)  # (n, K*r, r)
        return (cross.abs() if self.l1 else cross.square()).sum(dim=(1, 2))


@final
class QrPenalty(Penalty):
    """Penalty sum_m ( 2 sum_{i<t} || Q_i Q_t^T ||_F^2 )^(1/2), Q the orthonormal rows of A.

    The penalty is the norm of the deviation of all stacked Q from orthonormality, over the blocks
    that the current module shares with earlier ones (section 3.2). It depends only on the
    subspaces. If A is too ill-conditioned for a usable derivative of the decomposition, the cost
    of the matrix in this step is that of `cross` instead; `fallbacks` counts these cases.
    """

    def __init__(self, current: Sequence[Tensor], past: Sequence[Tensor | None]) -> None:
        super().__init__(current, past)
        self._fallbacks: Tensor | None = None
        rank = current[0].shape[0] if current else 0
        self._bases = [
            None if stacked is None else _module_bases(stacked, rank)
            for _, stacked in self._groups
        ]

    @property
    def fallbacks(self) -> int:
        """Number of cases so far; reading it waits for the device."""
        return 0 if self._fallbacks is None else int(self._fallbacks)

    def _costs(self, group: int, a: Tensor, past: Tensor | None) -> Tensor:
        bases = self._bases[group]
        if past is None or bases is None:
            return a.new_zeros(len(a))
        with torch.no_grad():
            r = torch.linalg.qr(a.mT, mode="r").R  # (n, r, r)
            diagonal = torch.diagonal(r, dim1=1, dim2=2).abs()  # (n, r)
            bad = diagonal.amin(dim=1) <= WELL_CONDITIONED * diagonal.amax(dim=1)
            count = bad.sum()
            self._fallbacks = count if self._fallbacks is None else self._fallbacks + count
        # Decompose without the bad ones: even unused, their derivative would be NaN. The step
        # does not ask whether there are any, because the answer would have to be waited for.
        identity = torch.eye(*a.shape[1:], dtype=a.dtype, device=a.device)
        q = torch.linalg.qr(torch.where(bad[:, None, None], identity, a).mT).Q
        cross = (past @ a.mT).square().sum(dim=(1, 2))
        return torch.where(bad, cross, _norm(2.0 * (bases @ q).square().sum(dim=(1, 2))))


def penalty_of(
    mode: str,
    current: Sequence[Tensor],
    past: Sequence[Tensor | None],
) -> Penalty:
    """Return the penalty of an `ortho_mode` that has one."""
    if mode == "qr":
        return QrPenalty(current, past)
    if mode in {"gram", "gram_sq"}:
        return GramPenalty(current, past, squared=mode == "gram_sq")
    return CrossPenalty(current, past, l1=mode == "cross_l1")


def orthogonality_residual(current: Tensor, past: Tensor) -> float:
    """Return the largest cosine between the spans of `current` (r, a) and a module of `past`.

    `past` (K*r, a) stacks the earlier modules. The value max_i || Q_i Q_t^T ||_2 is comparable
    across modes (section 3.4).
    """
    rank = current.shape[0]
    basis = torch.linalg.qr(current.T.double()).Q  # (a, r)
    cosines = [
        torch.linalg.matrix_norm(torch.linalg.qr(module.T.double()).Q.T @ basis, ord=2)
        for module in torch.split(past, rank)
    ]
    return float(torch.stack(cosines).max())


def _module_bases(past: Tensor, rank: int) -> Tensor:
    """Return the orthonormal rows of each earlier module, stacked (n, K*r, a)."""
    matrices, rows, size = past.shape
    modules = past.reshape(matrices, rows // rank, rank, size)
    bases: Tensor = torch.linalg.qr(modules.mT).Q.mT.reshape(past.shape)
    return bases


def _squared_distance_to_identity(a: Tensor) -> Tensor:
    """Return || A A^T - I ||_F^2 (n,) for A (n, k, a)."""
    gram = a @ a.transpose(1, 2)
    return (gram - torch.eye(a.shape[1], dtype=a.dtype, device=a.device)).square().sum(dim=(1, 2))


def _norm(squared: Tensor) -> Tensor:
    """Return the square root, with gradient 0 at 0 (invariant I19)."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
