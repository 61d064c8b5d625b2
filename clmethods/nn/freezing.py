"""Selection of the matrices that are frozen next (docs/method.md sections 4.3 and 4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def freeze_top(
    scores: Tensor, frozen: Tensor, k: int, groups: Sequence[object] | None = None
) -> Tensor:
    """Return flags (M,) that add the k matrices with the best scores to `frozen` (section 4.4).

    Exactly min(k, number of matrices not yet frozen) are added. This rule is ours, not the
    paper's. Ties are resolved in favor of the earlier matrix. A matrix whose score is not finite
    is never selected. With `groups`, one label per matrix, the best k // (number of groups)
    matrices of each group are selected first, or all of a smaller group; the best remaining
    matrices complete k.
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
    """Return flags (M,) of the k largest finite scores within the mask `among`."""
    eligible = among & torch.isfinite(scores)
    ranked = torch.where(eligible, scores, -torch.inf).sort(descending=True, stable=True).indices
    best = torch.zeros_like(among)
    best[ranked[: min(k, int(eligible.sum()))]] = True
    return best
