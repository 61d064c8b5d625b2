"""Gaussian clusters of training features, with covariances stored as low-rank roots.

A covariance Sigma (d, d) of n samples is U^T U with U (n, d). U is stored in half the width of the
run's precision; if a class has more than `ROWS_PER_CLASS` samples, only its leading part is
stored. The variances that U omits are stored as a diagonal: Sigma is approximated by U^T U +
diag(spread). Apart from rounding, the diagonal is always exact, and the whole matrix is exact for
few samples.
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
"""Added to every variance when a Gaussian is used (docs/method.md sections 5.1 and 5.3)."""
HALF = {torch.float32: torch.float16, torch.float64: torch.float32}
"""Dtype of a root by the dtype of the features."""


@final
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gaussians:
    """Clusters of the classes of one task: G clusters in d dimensions."""

    labels: Tensor
    """(G,) int64, original class ids."""
    sizes: Tensor
    """(G,) int64, number of samples."""
    means: Tensor
    """(G, d)."""
    spread: Tensor
    """(G, d): variances that the root omits; all variances if there is no root."""
    covariances: Tensor
    """(G,): mean of the off-diagonal covariances; 0 if no root is stored."""
    ranks: Tensor
    """(G,) int64: number of rows of each root."""
    scales: Tensor
    """(G,): factors of the stored rows, which prevent underflow of small values."""
    roots: Tensor
    """(sum of ranks, d): the rows of all roots, cluster by cluster."""

    def __len__(self) -> int:
        return len(self.labels)

    def root(self, cluster: int) -> Tensor:
        """Return U (rank, d) of a cluster, in the dtype of the means."""
        start = int(self.ranks[:cluster].sum())
        rows = self.roots[start : start + int(self.ranks[cluster])]
        return rows.to(self.means.dtype) * self.scales[cluster]

    def variances(self, cluster: int) -> Tensor:
        """Return the diagonal (d,) of the covariance of a cluster."""
        return self.spread[cluster] + self.root(cluster).square().sum(dim=0)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name; `from_tensors` is the inverse."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Gaussians:
        """Create Gaussians from the result of `tensors`."""
        return cls(**tensors)

    def to(self, device: str) -> Gaussians:
        """Return the Gaussians on another device; integer tensors stay on the CPU.

        The integer tensors are used as indices.
        """
        return Gaussians(
            **{
                name: tensor.to(device) if tensor.is_floating_point() else tensor
                for name, tensor in self.tensors().items()
            }
        )

    @property
    def nbytes(self) -> int:
        """Total size of all tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors().values())


@torch.no_grad()
def fit(features: Tensor, labels: Tensor, kind: GaussianKind, seed: int) -> Gaussians:
    """Fit clusters to every class in `labels` (n,), from features (n, d).

    Every class is clustered with the same random numbers, so the result does not depend on class
    ids. Raises `DivergedError` if a feature is not finite.
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
    """None for a single sample, which has no variance."""
    covariance: float
    root: Tensor
    """(rank, d), before rounding to the stored dtype."""


def _cluster(label: int, x: Tensor, limit: int) -> _Cluster:
    """Return statistics of the samples `x` (n, d); the root has at most `limit` rows."""
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
    pooled = means.new_zeros(())  # mean variance within clusters, used for single samples
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
