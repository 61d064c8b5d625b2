"""Weights of the modules that a matrix composes, in the forms that can be learned."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn

Rule = Literal["free", "constant_sum", "magnitude"]

SMALLEST = 1e-12
"""Least weight that has a logarithm here, and least norm of a module that is divided by."""


@final
class ModuleWeights(nn.Module):
    """(K,) weights omega of K modules, as a function of K numbers (docs/method.md section 2.8).

        free           omega = value
        constant_sum   omega = S softmax(value), where S is the sum at the start
        magnitude      omega = value / n, where n = ||A_i||_F ||B_i||_F: value is a module's norm

    Each starts at the omega that it is given, so that nothing jumps when a task begins. Several
    matrices share weights by sharing the object.
    """

    total: Tensor
    norms: Tensor

    def __init__(
        self,
        start: Tensor,
        rule: Rule = "free",
        norms: Tensor | None = None,
        *,
        learn: bool = True,
    ) -> None:
        """`start` (K,) omegas, copied; `norms` (K,) of the modules, for `magnitude`."""
        super().__init__()
        self.rule = rule
        if rule == "constant_sum":
            self.register_buffer("total", start.sum())
            value = start.clamp(min=SMALLEST).log()
        elif rule == "magnitude":
            if norms is None:
                raise ValueError("the rule `magnitude` needs the norms of the modules")
            # A module that is zero has no direction: its weight keeps its meaning, which is none.
            self.register_buffer("norms", torch.where(norms > SMALLEST, norms, 1.0))
            value = start * self.norms
        else:
            value = start.clone()
        self.value = nn.Parameter(value, requires_grad=learn)

    def __len__(self) -> int:
        return len(self.value)

    def forward(self) -> Tensor:
        """(K,) omegas, with gradients."""
        if self.rule == "constant_sum":
            return torch.softmax(self.value, dim=0) * self.total
        if self.rule == "magnitude":
            return self.value / self.norms
        return self.value
