"""The linear classifier: one row per original class, trained only for the task's classes."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clmethods.canonical import derive_seed


def initial_head(classes: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """(C, D) truncated normal with std 0.02 and (C,) zeros, in float64.

    Every row has a generator of its own, so that it does not depend on the order of the classes.
    """
    weight = torch.empty(classes, width, dtype=torch.float64)
    for label in range(classes):
        generator = torch.Generator().manual_seed(derive_seed(seed, "head", label))
        nn.init.trunc_normal_(weight[label], std=0.02, generator=generator)
    return weight, torch.zeros(classes, dtype=torch.float64)


@final
class TaskHead(nn.Module):
    """Rows of the head that a task trains; all other rows are not even parameters.

    Cross-entropy over these rows alone is the loss with every other logit at minus infinity
    (docs/method.md section 2.6), and no optimiser setting can move the others (invariant I10).
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        classes: tuple[int, ...],
        among: tuple[int, ...] | None = None,
    ) -> None:
        """`weight` (C, D) and `bias` (C,) of all classes; `classes`, ascending, are trained.

        `among` narrows the cross-entropy to some of them, for methods in which another term of
        the loss trains the rest.
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
        """Mean over the batch; `features` (B, D), `labels` (B,) original class ids."""
        logits = self.logits(features)
        if self.columns is not None:
            logits = logits[:, self.columns]
        return F.cross_entropy(logits, torch.searchsorted(self.among, labels))

    def logits(self, features: Tensor) -> Tensor:
        """(B, D) features to (B, rows) logits of the trained rows."""
        return F.linear(features, self.weight, self.bias)

    @torch.no_grad()
    def merged(self) -> tuple[Tensor, Tensor]:
        """(C, D) and (C,): all rows, with the trained ones put back."""
        weight, bias = self.all_weight.clone(), self.all_bias.clone()  # type: ignore[operator]
        weight[self.rows], bias[self.rows] = self.weight, self.bias
        return weight, bias
