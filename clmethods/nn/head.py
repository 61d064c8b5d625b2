"""Linear classifier with one row per original class; a task trains the rows of its classes."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clmethods.canonical import derive_seed


def initial_head(classes: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the initial weight (C, D), truncated normal with std 0.02, and a zero bias (C,).

    Both are in float64. Every row is drawn from a separate generator, so it does not depend on the
    class order.
    """
    weight = torch.empty(classes, width, dtype=torch.float64)
    for label in range(classes):
        generator = torch.Generator().manual_seed(derive_seed(seed, "head", label))
        nn.init.trunc_normal_(weight[label], std=0.02, generator=generator)
    return weight, torch.zeros(classes, dtype=torch.float64)


@final
class TaskHead(nn.Module):
    """Rows of the head that a task trains; the other rows are not parameters.

    Cross-entropy over these rows equals the loss with all other logits at minus infinity
    (docs/method.md section 2.6), and no optimizer setting can change the other rows (invariant
    I10).
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        classes: tuple[int, ...],
        among: tuple[int, ...] | None = None,
    ) -> None:
        """Take `weight` (C, D) and `bias` (C,) of all classes, and train the ascending `classes`.

        `among` restricts the cross-entropy to a subset of `classes`, for methods in which another
        term of the loss trains the rest.
        """
        super().__init__()
        self.rows = torch.tensor(classes, device=weight.device)
        chosen = classes if among is None else among
        self.among = torch.tensor(chosen, device=weight.device)
        self.columns = None if chosen == classes else torch.searchsorted(self.rows, self.among)
        self.register_buffer("all_weight", weight, persistent=False)
        self.register_buffer("all_bias", bias, persistent=False)
        self.weight = nn.Parameter(weight[self.rows])
        self.bias = nn.Parameter(bias[self.rows])

    def cross_entropy(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of `features` (B, D) and `labels` (B,), original class ids."""
        logits = self.logits(features)
        if self.columns is not None:
            logits = logits[:, self.columns]
        return F.cross_entropy(logits, torch.searchsorted(self.among, labels))

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (B, rows) of the trained rows for features (B, D)."""
        return F.linear(features, self.weight, self.bias)

    @torch.no_grad()
    def merged(self) -> tuple[Tensor, Tensor]:
        """Return weight (C, D) and bias (C,) of all classes, including the trained rows."""
        weight, bias = self.all_weight.clone(), self.all_bias.clone()  # type: ignore[operator]
        weight[self.rows], bias[self.rows] = self.weight, self.bias
        return weight, bias
