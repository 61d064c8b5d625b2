"""k-means clusters of a class, each large enough to have a covariance.

Lloyd's algorithm is implemented here: scikit-learn is not a dependency of the package, and scipy's
`kmeans2` runs a fixed number of steps, divides by zero for repeated images, and moves data to the
CPU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_SHARE = 0.05
"""Minimum cluster size as a fraction of the class; others are merged (docs/method.md D12)."""
MAX_STEPS = 100


def split_class(features: Tensor, clusters: int, generator: torch.Generator) -> list[Tensor]:
    """Return the row indices of each cluster of a class with features (n, d).

    At most min(`clusters`, n / 2) clusters are computed. A cluster smaller than max(2, 5 % of n)
    is merged into the cluster with the nearest center, so every cluster of a class with at least 2
    images has a covariance.
    """
    n = len(features)
    labels = k_means(features, max(1, min(clusters, n // 2)), generator)
    members = [(labels == label).nonzero().flatten() for label in torch.unique(labels)]
    least = max(2, math.ceil(MIN_SHARE * n))
    while len(members) > 1 and min(map(len, members)) < least:
        centers = torch.stack([features[rows].mean(dim=0) for rows in members])
        small = min(range(len(members)), key=lambda index: len(members[index]))
        distance = (centers - centers[small]).square().sum(dim=1)
        distance[small] = math.inf
        nearest = int(distance.argmin())
        members[nearest] = torch.cat([members[nearest], members[small]]).sort().values
        del members[small]
    return members


def k_means(x: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Return the cluster (n,) of each row of `x` (n, d): Lloyd's algorithm with k-means++ centers.

    It stops when no row changes its cluster. Repeated rows can lead to fewer clusters.
    """
    centers = _spread_centers(x, clusters, generator)
    labels = _nearest(x, centers)
    for _ in range(MAX_STEPS):
        member = torch.nn.functional.one_hot(labels, len(centers)).to(x.dtype)  # (n, K)
        sizes = member.sum(dim=0).unsqueeze(1)
        centers = torch.where(sizes > 0, member.T @ x / sizes.clamp_min(1), centers)
        moved = _nearest(x, centers)
        if torch.equal(moved, labels):
            break
        labels = moved
    return labels


def _spread_centers(x: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Draw rows as in k-means++: the probability is proportional to the squared distance."""
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    distance = (x - x[chosen[0]]).square().sum(dim=1)
    while len(chosen) < clusters:
        cumulative = distance.double().cpu().cumsum(dim=0)
        if cumulative[-1] <= 0:
            break
        drawn = torch.rand(1, generator=generator, dtype=torch.float64) * cumulative[-1]
        index = min(int(torch.searchsorted(cumulative, drawn, right=True)), len(x) - 1)
        chosen.append(index)
        distance = torch.minimum(distance, (x - x[index]).square().sum(dim=1))
    return x[chosen]


def _nearest(x: Tensor, centers: Tensor) -> Tensor:
    products = x @ centers.T  # (n, K)
    return (centers.square().sum(dim=1) - 2 * products).argmin(dim=1)
