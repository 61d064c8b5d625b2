"""Which of the matrices that are left freeze next (docs/method.md sections 4.3 and 4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def freeze_top(
    scores: Tensor, frozen: Tensor, k: int, groups: Sequence[object] | None = None
) -> Tensor:
    """(M,) bool: `frozen` and the k best of the others (section 4.4).

    Exactly min(k, not yet frozen) are added; ties fall to the earlier matrix; a score that is not
    finite never freezes its matrix. With `groups`, a label per matrix, each group gives its best
    k // (number of groups), as far as it has them, and the best of all others make up k.
    """
    chosen = frozen.clone()
    if groups is not None:
        labels = list(dict.fromkeys(groups))
        for label in labels:
            of_group = torch.tensor([other == label for other in groups])
            chosen |= _best(scores, of_group & ~frozen, k // len(labels))
    taken = int((chosen & ~frozen).sum())
    return chosen | _best(scores, ~chosen, k - taken)


def _best(scores: Tensor, among: Tensor, k: int) -> Tensor:
    """(M,) bool: the k largest finite scores `among` some."""
    eligible = among & torch.isfinite(scores)
    ranked = torch.where(eligible, scores, -torch.inf).sort(descending=True, stable=True).indices
    best = torch.zeros_like(among)
    best[ranked[: min(k, int(eligible.sum()))]] = True
    return best
