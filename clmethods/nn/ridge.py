"""Ridge regression from accumulated sums, as RanPAC uses it (docs/method.md section 9.11)."""

from __future__ import annotations

import torch
from torch import Tensor

CANDIDATES = tuple(10.0**power for power in range(-8, 9))
"""Candidate penalties."""
FLOOR = 1e-8
"""Smallest penalty that is selected, relative to the mean diagonal of the Gram matrix. In float64
the solution then keeps about half of its digits for any rank of the Gram matrix."""


def pack(gram: Tensor) -> Tensor:
    """Return the upper triangle (M (M + 1) / 2,) of a symmetric matrix (M, M), row by row."""
    return torch.cat([row[index:] for index, row in enumerate(gram)])


def unpack(packed: Tensor, width: int) -> Tensor:
    """Return the symmetric matrix (width, width) that `pack` packed."""
    upper = packed.new_zeros(width, width)
    rows = torch.split(packed, [width - index for index in range(width)])
    for index, row in enumerate(rows):
        upper[index, index:] = row
    return upper + upper.triu(1).T


def ridge_weights(gram: Tensor, target: Tensor, ridge: float) -> Tensor:
    """Solve (G + ridge I) W = Q by Cholesky, for G (M, M) and Q (M, C); return W (M, C).

    Raises `ValueError` if the penalty is too small for the rank of G.
    """
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(gram + ridge * eye)
    if int(failed):
        raise ValueError(f"G + {ridge:g} I is not positive definite in float64")
    return torch.cholesky_solve(target, factor)


def choose_ridge(inputs: Tensor, target: Tensor, order: Tensor, floor: float) -> float:
    """Return the candidate of at least `floor` with the smallest squared error on held-out rows.

    `inputs` (n, M), `target` (n, C). The first four fifths of `order` (n,) are fitted, the rest is
    held out. One singular value decomposition serves all candidates.
    """
    allowed = [c for c in CANDIDATES if c >= floor] or [floor]
    fitted = min(max(1, int(0.8 * len(order))), len(order) - 1)
    if fitted < 1:  # a single image: no held-out row
        return allowed[0]
    here, there = order[:fitted], order[fitted:]
    left, singular, right = torch.linalg.svd(inputs[here], full_matrices=False)
    answer, probe = left.T @ target[here], inputs[there] @ right.T  # (k, C), (m, k)
    errors = [
        float(
            (probe @ (answer * (singular / (singular**2 + c))[:, None]) - target[there])
            .square()
            .mean()
        )
        for c in allowed
    ]
    return allowed[errors.index(min(errors))]
