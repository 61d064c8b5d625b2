"""Orthogonality of LoRA modules across tasks: penalties and the residual they leave.

Current and earlier modules of a matrix are given as A (r, a) and stacked (K*r, a). Matrices of
equal shape are one batched product. Only the current A gets a gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

WELL_CONDITIONED = 1e-6
"""Least ratio of the diagonal of R for which a QR decomposition is differentiated."""


class Penalty(ABC):
    """A sum over matrices of what their current module costs."""

    def __init__(self, current: Sequence[Tensor], past: Sequence[Tensor | None]) -> None:
        """Per matrix: the trainable (r, a) and the earlier modules stacked (K*r, a), if any."""
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, (a, before) in enumerate(zip(current, past, strict=True)):
            by_shape[(a.shape[1], 0 if before is None else before.shape[0])].append(index)
        self._groups: list[tuple[list[Tensor], Tensor | None]] = []
        for (_, modules), members in by_shape.items():
            factors = [current[index] for index in members]
            stacked = [p for index in members if (p := past[index]) is not None]
            self._groups.append((factors, torch.stack(stacked) if modules else None))

    def __call__(self) -> Tensor:
        """The penalty, a scalar; 0 with no gradient where nothing trains."""
        total = torch.zeros(())
        for group, (factors, past) in enumerate(self._groups):
            costs = self._costs(group, torch.stack(factors), past)  # (n,)
            total = total.to(costs) + costs.sum()
        return total

    @abstractmethod
    def _costs(self, group: int, a: Tensor, past: Tensor | None) -> Tensor:
        """(n,) costs of the matrices of a group, from `a` (n, r, a) and `past` (n, K*r, a)."""


@final
class GramPenalty(Penalty):
    """sum_m || Abar_m Abar_m^T - I ||_F, where Abar_m stacks all modules' A (section 3.1).

    The norm is not squared, unless asked for; then it is divided by the number of rows. The blocks
    among earlier modules are constants, computed once per task.
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
    """sum_m sum_{i<t} || A_i A_t^T ||_F^2, or the sum of sizes of the entries (`l1`).

    The first is O-LoRA's idea, the second what its code computes (section 3.4). Norms are free.
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
    """sum_m ( 2 sum_{i<t} || Q_i Q_t^T ||_F^2 )^(1/2), Q the orthonormal rows of A (section 3.2).

    The norm of the deviation of all stacked Q from orthonormality, over the blocks that the
    current module shares with earlier ones. It depends on the subspaces alone. Where A is so badly
    conditioned that the decomposition has no usable derivative, the matrix costs `cross` instead,
    for this step; `fallbacks` counts that.
    """

    def __init__(self, current: Sequence[Tensor], past: Sequence[Tensor | None]) -> None:
        super().__init__(current, past)
        self.fallbacks = 0
        rank = current[0].shape[0] if current else 0
        self._bases = [
            None if stacked is None else _module_bases(stacked, rank)
            for _, stacked in self._groups
        ]

    def _costs(self, group: int, a: Tensor, past: Tensor | None) -> Tensor:
        bases = self._bases[group]
        if past is None or bases is None:
            return a.new_zeros(len(a))
        q, r = torch.linalg.qr(a.mT)  # (n, a, r), (n, r, r)
        diagonal = torch.diagonal(r.detach(), dim1=1, dim2=2).abs()  # (n, r)
        bad = diagonal.amin(dim=1) <= WELL_CONDITIONED * diagonal.amax(dim=1)
        count = int(bad.sum())
        if count == 0:
            return _norm(2.0 * (bases @ q).square().sum(dim=(1, 2)))
        self.fallbacks += count
        # Decomposed again without the bad ones, whose derivative would be NaN even unused.
        identity = torch.eye(*a.shape[1:]).to(a)
        q = torch.linalg.qr(torch.where(bad[:, None, None], identity, a).mT).Q
        cross = (past @ a.mT).square().sum(dim=(1, 2))
        return torch.where(bad, cross, _norm(2.0 * (bases @ q).square().sum(dim=(1, 2))))


def penalty_of(
    mode: str,
    current: Sequence[Tensor],
    past: Sequence[Tensor | None],
) -> Penalty:
    """The penalty of an `ortho_mode` that has one."""
    if mode == "qr":
        return QrPenalty(current, past)
    if mode in {"gram", "gram_sq"}:
        return GramPenalty(current, past, squared=mode == "gram_sq")
    return CrossPenalty(current, past, l1=mode == "cross_l1")


def orthogonality_residual(current: Tensor, past: Tensor) -> float:
    """Largest cosine between the spans of `current` (r, a) and `past` (K*r, a), module by module.

    max_i || Q_i Q_t^T ||_2, comparable across modes (section 3.4).
    """
    rank = current.shape[0]
    basis = torch.linalg.qr(current.T.double()).Q  # (a, r)
    cosines = [
        torch.linalg.matrix_norm(torch.linalg.qr(module.T.double()).Q.T @ basis, ord=2)
        for module in torch.split(past, rank)
    ]
    return float(torch.stack(cosines).max())


def _module_bases(past: Tensor, rank: int) -> Tensor:
    """(n, K*r, a): the orthonormal rows of each earlier module by itself."""
    matrices, rows, size = past.shape
    modules = past.reshape(matrices, rows // rank, rank, size)
    bases: Tensor = torch.linalg.qr(modules.mT).Q.mT.reshape(past.shape)
    return bases


def _squared_distance_to_identity(a: Tensor) -> Tensor:
    """(n, k, a) to (n,): || A A^T - I ||_F^2."""
    gram = a @ a.transpose(1, 2)
    return (gram - torch.eye(a.shape[1]).to(a)).square().sum(dim=(1, 2))


def _norm(squared: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 (invariant I19)."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
