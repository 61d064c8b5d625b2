"""Parametrizations of the weights of the modules that a matrix composes."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn

Rule = Literal["free", "constant_sum", "magnitude"]

SMALLEST = 1e-12
"""Lower bound of a weight before its logarithm, and of a module's norm before a division."""


@final
class ModuleWeights(nn.Module):
    """Weights omega (K,) of K modules, as a function of K parameters (docs/method.md section 2.8).

        free           omega = value
        constant_sum   omega = S softmax(value), where S is the initial sum
        magnitude      omega = value / n, where n = ||A_i||_F ||B_i||_F: value is a module's norm

    Each rule starts at the given omega, so that the function of the network does not change at the
    start of a task. Several matrices share weights by sharing the object.
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
        """Take the omegas `start` (K,), copied, and for `magnitude` the modules' `norms` (K,).

        Raises `ValueError` if the rule `magnitude` is used without norms.
        """
        super().__init__()
        self.rule = rule
        if rule == "constant_sum":
            self.register_buffer("total", start.sum())
            value = start.clamp(min=SMALLEST).log()
        elif rule == "magnitude":
            if norms is None:
                raise ValueError("the rule `magnitude` needs the norms of the modules")
            # A zero module contributes nothing, whatever its weight: avoid a division by zero.
            self.register_buffer("norms", torch.where(norms > SMALLEST, norms, 1.0))
            value = start * self.norms
        else:
            value = start.clone()
        self.value = nn.Parameter(value, requires_grad=learn)

    def __len__(self) -> int:
        return len(self.value)

    def forward(self) -> Tensor:
        """Return the omegas (K,), with gradients."""
        if self.rule == "constant_sum":
            return torch.softmax(self.value, dim=0) * self.total
        if self.rule == "magnitude":
            return self.value / self.norms
        return self.value
