"""Gaussian clusters of training features, with covariances kept as low-rank roots.

A covariance Sigma (d, d) of n samples is U^T U with U (n, d), so U is what is kept, in half the
width of the run's precision; with more than `ROWS_PER_CLASS` samples in a class its leading part.
What U leaves out stays on the diagonal: Sigma is stood for by U^T U + diag(spread). Rounding
aside, its diagonal is exact always, and all of it while the samples are few enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.canonical import derive_seed
from clmethods.config.readout import ROWS_PER_CLASS, GaussianKind
from clmethods.methods.base import DivergedError
from clmethods.readout.clusters import split_class

RIDGE = 1e-4
"""Added to every variance where a Gaussian is used (docs/method.md sections 5.1 and 5.3)."""
HALF = {torch.float32: torch.float16, torch.float64: torch.float32}
"""Type of a root by that of the features."""


@final
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gaussians:
    """Clusters of the classes of one task: G of them, in d dimensions."""

    labels: Tensor
    """(G,) int64, original class ids."""
    sizes: Tensor
    """(G,) int64, samples."""
    means: Tensor
    """(G, d)."""
    spread: Tensor
    """(G, d): variances that the root leaves out; all of them where there is no root."""
    covariances: Tensor
    """(G,): mean of the covariances of different features; 0 where none is kept."""
    ranks: Tensor
    """(G,) int64: rows of each root."""
    scales: Tensor
    """(G,): by which the stored rows are multiplied, so that small ones do not vanish."""
    roots: Tensor
    """(sum of ranks, d): the rows of all roots, one cluster after the other."""

    def __len__(self) -> int:
        return len(self.labels)

    def root(self, cluster: int) -> Tensor:
        """(rank, d) U of a cluster, in the type of the means."""
        start = int(self.ranks[:cluster].sum())
        rows = self.roots[start : start + int(self.ranks[cluster])]
        return rows.to(self.means.dtype) * self.scales[cluster]

    def variances(self, cluster: int) -> Tensor:
        """(d,) diagonal of the covariance of a cluster."""
        return self.spread[cluster] + self.root(cluster).square().sum(dim=0)

    def tensors(self) -> dict[str, Tensor]:
        """All there is, by name; `from_tensors` is the inverse."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Gaussians:
        """From what `tensors` gave."""
        return cls(**tensors)

    def to(self, device: str) -> Gaussians:
        """The same on another device; whole numbers stay on the CPU, where they index."""
        return Gaussians(
            **{
                name: tensor.to(device) if tensor.is_floating_point() else tensor
                for name, tensor in self.tensors().items()
            }
        )

    @property
    def nbytes(self) -> int:
        """Bytes that all tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors().values())


@torch.no_grad()
def fit(features: Tensor, labels: Tensor, kind: GaussianKind, seed: int) -> Gaussians:
    """Clusters of every class in `labels` (n,), from features (n, d).

    Every class is clustered with the same random numbers, so class ids do not matter. Raises
    `DivergedError` where a feature is not finite.
    """
    if not torch.isfinite(features).all():
        raise DivergedError(
            "features of training images are no longer finite. Lower train.lr or set "
            "train.grad_clip."
        )
    x = F.normalize(features, dim=1) if kind.features == "first" else features
    places = labels.to(x.device)
    parts: list[_Cluster] = []
    for label in torch.unique(labels).tolist():
        own = x[places == label]
        generator = torch.Generator().manual_seed(derive_seed(seed, "k_means"))
        for rows in split_class(own, kind.clusters, generator):
            limit = ROWS_PER_CLASS * len(rows) // len(own) if kind.covariance else 0
            parts.append(_cluster(label, own[rows], limit))
    return _packed(parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Cluster:
    label: int
    size: int
    mean: Tensor
    variances: Tensor | None
    """None for a single sample, which has none."""
    covariance: float
    root: Tensor
    """(rank, d) as computed."""


def _cluster(label: int, x: Tensor, limit: int) -> _Cluster:
    """Mean, variances and root of the samples `x` (n, d); the root has at most `limit` rows."""
    n, d = x.shape
    mean = x.mean(dim=0)
    if n == 1:
        return _Cluster(label, n, mean, None, 0.0, x[:0])
    deviations = (x - mean) / (n - 1) ** 0.5  # (n, d): already a root
    variances = deviations.square().sum(dim=0)
    if limit == 0:
        return _Cluster(label, n, mean, variances, 0.0, x[:0])
    off = deviations.sum(dim=1).square().sum() - variances.sum()
    root = deviations
    if n > limit:
        _, values, directions = torch.linalg.svd(deviations, full_matrices=False)
        root = (values.unsqueeze(1) * directions)[:limit]
    return _Cluster(label, n, mean, variances, float(off) / max(d * (d - 1), 1), root)


def _packed(parts: Sequence[_Cluster]) -> Gaussians:
    means = torch.stack([part.mean for part in parts])
    half = HALF[means.dtype]
    known = [(part.size, part.variances) for part in parts if part.variances is not None]
    pooled = means.new_zeros(())  # mean variance within clusters: stands in for a single sample's
    if known:
        weight = sum(size - 1 for size, _ in known)
        pooled = torch.stack([v.mean() * ((size - 1) / weight) for size, v in known]).sum()
    spread, scales, roots = [], [], []
    for part in parts:
        largest = part.root.abs().max() if len(part.root) else means.new_zeros(())
        scale = torch.where(largest > 0, largest, torch.ones_like(largest))
        stored = (part.root / scale).to(half)
        total = part.variances if part.variances is not None else pooled.expand_as(part.mean)
        kept = (stored.to(means.dtype) * scale).square().sum(dim=0)
        spread.append((total - kept).clamp_min(0))
        scales.append(scale)
        roots.append(stored)
    return Gaussians(
        labels=torch.tensor([part.label for part in parts]),
        sizes=torch.tensor([part.size for part in parts]),
        means=means,
        spread=torch.stack(spread),
        covariances=means.new_tensor([part.covariance for part in parts]),
        ranks=torch.tensor([len(part.root) for part in parts]),
        scales=torch.stack(scales),
        roots=torch.cat(roots),
    )
