"""k-means clusters of a class, none of them too small to have a covariance.

Lloyd's algorithm is written out here: scikit-learn is no dependency of the package, and scipy's
`kmeans2` runs a fixed number of steps, divides by zero where images repeat, and leaves the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_SHARE = 0.05
"""Smallest cluster, as a share of its class; smaller ones are merged (docs/method.md, D12)."""
MAX_STEPS = 100


def split_class(features: Tensor, clusters: int, generator: torch.Generator) -> list[Tensor]:
    """Rows of each cluster of a class, at most `clusters` of them; `features` is (n, d).

    At most n / 2 clusters are asked for, and one that is smaller than max(2, 5 % of n) joins the
    one whose centre is nearest, so a class of 2 or more images has a covariance everywhere.
    """
    n = len(features)
    labels = k_means(features, max(1, min(clusters, n // 2)), generator)
    found = [(labels == label).nonzero().flatten() for label in torch.unique(labels)]
    least = max(2, math.ceil(MIN_SHARE * n))
    while len(found) > 1 and min(map(len, found)) < least:
        centres = torch.stack([features[rows].mean(dim=0) for rows in found])
        small = min(range(len(found)), key=lambda index: len(found[index]))
        distance = (centres - centres[small]).square().sum(dim=1)
        distance[small] = math.inf
        nearest = int(distance.argmin())
        found[nearest] = torch.cat([found[nearest], found[small]]).sort().values
        del found[small]
    return found


def k_means(x: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """(n,) cluster of each row of `x` (n, d): Lloyd's algorithm from k-means++ centres.

    It stops when no row changes its cluster. Rows that repeat make fewer clusters.
    """
    centres = _spread_centres(x, clusters, generator)
    labels = _nearest(x, centres)
    for _ in range(MAX_STEPS):
        member = torch.nn.functional.one_hot(labels, len(centres)).to(x.dtype)  # (n, K)
        sizes = member.sum(dim=0).unsqueeze(1)
        centres = torch.where(sizes > 0, member.T @ x / sizes.clamp_min(1), centres)
        moved = _nearest(x, centres)
        if torch.equal(moved, labels):
            break
        labels = moved
    return labels


def _spread_centres(x: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Rows drawn one after another, by the squared distance to those drawn before."""
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    distance = (x - x[chosen[0]]).square().sum(dim=1)
    while len(chosen) < clusters:
        reach = distance.double().cpu().cumsum(dim=0)
        if reach[-1] <= 0:
            break
        drawn = torch.rand(1, generator=generator, dtype=torch.float64) * reach[-1]
        index = min(int(torch.searchsorted(reach, drawn, right=True)), len(x) - 1)
        chosen.append(index)
        distance = torch.minimum(distance, (x - x[index]).square().sum(dim=1))
    return x[chosen]


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    products = x @ centres.T  # (n, K)
    return (centres.square().sum(dim=1) - 2 * products).argmin(dim=1)
