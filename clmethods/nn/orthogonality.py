"""Orthogonality of LoRA modules across tasks: the Gram penalty and its residual."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor


@final
class GramPenalty:
    """sum_m || Abar_m Abar_m^T - I ||_F, where Abar_m stacks all modules' A (section 3.1).

    The norm is not squared. Only the current A gets a gradient: the blocks among earlier modules
    are constants, computed once per task. Matrices of equal fan-in are one batched product.
    """

    def __init__(self, current: Sequence[Tensor], past: Sequence[Tensor | None]) -> None:
        """Per matrix: the trainable (r, a) and the earlier modules stacked (K*r, a), if any."""
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, (a, before) in enumerate(zip(current, past, strict=True)):
            by_shape[(a.shape[1], 0 if before is None else before.shape[0])].append(index)
        self._groups: list[tuple[list[Tensor], Tensor | None, Tensor | None]] = []
        for (_, modules), members in by_shape.items():
            factors = [current[index] for index in members]
            if modules == 0:
                self._groups.append((factors, None, None))
                continue
            stacked = torch.stack([p for index in members if (p := past[index]) is not None])
            constant = _squared_distance_to_identity(stacked)  # (n,)
            self._groups.append((factors, stacked, constant))

    def __call__(self) -> Tensor:
        """The penalty, a scalar; 0 with no gradient where nothing trains."""
        total = torch.zeros(())
        for factors, past, constant in self._groups:
            a = torch.stack(factors)  # (n, r, a)
            squared = _squared_distance_to_identity(a)  # (n,)
            if past is not None and constant is not None:
                cross = past @ a.transpose(1, 2)  # (n, K*r, r)
                squared = squared + constant + 2.0 * cross.square().sum(dim=(1, 2))
            total = total.to(squared) + _norm(squared).sum()
        return total


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


def _squared_distance_to_identity(a: Tensor) -> Tensor:
    """(n, k, a) to (n,): || A A^T - I ||_F^2."""
    gram = a @ a.transpose(1, 2)
    return (gram - torch.eye(a.shape[1]).to(a)).square().sum(dim=(1, 2))


def _norm(squared: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 (invariant I19)."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
