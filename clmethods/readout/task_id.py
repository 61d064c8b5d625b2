"""Task-ID inference: assignment of images to tasks, from their features under the first snapshot.

The first snapshot is fixed for the whole run, so the statistics of a class and the distance of an
image to them never change (docs/method.md section 5.1). For a cluster of mean mu and covariance
Sigma,

    S = Sigma + RIDGE I + g1 mean(diag) I + g2 mean(off-diagonal) (11^T - I)
    delta(u) = z^T S^-1 z      z = u - mu in `cov`,  z = D^(1/2) (u - mu), D = diag S in `corr`

which for `corr` is (u - mu)^T R^-1 (u - mu) with the correlation form R = D^(-1/2) S D^(-1/2).
`shared_cov` has one Sigma for all classes. Shrinkage and correlation form follow FeCAM (Goswami et
al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.readout import ReadoutConfig
from clmethods.methods.base import DivergedError
from clmethods.readout.gaussians import RIDGE, Gaussians

CHUNK = 4096
"""Images whose distances are computed at once; bounds the memory."""


@torch.no_grad()
def task_distances(readout: ReadoutConfig, task: Gaussians, features: Tensor) -> Tensor:
    """Return the distance (n,) of each feature (n, d) to the nearest class of a task.

    For `cosine` it is the negative similarity. `shared_cov` is not supported, because its
    distances depend on all classes: see `infer_tasks`.
    """
    unit = F.normalize(features, dim=1)
    if readout.metric == "cosine":
        return -(unit @ F.normalize(task.means, dim=1).T).max(dim=1).values
    if readout.metric == "euclid":
        return torch.cdist(unit, task.means).min(dim=1).values
    diagonal, off = readout.shrinkage_diag, readout.shrinkage_off
    ellipsoids = [
        Ellipsoid(
            task.root(index),
            task.spread[index],
            float(task.covariances[index]),
            diagonal,
            off,
            correlation=readout.metric == "corr",
        )
        for index in range(len(task))
    ]
    distances = [
        torch.stack(
            [
                ellipsoid(part - mean)
                for ellipsoid, mean in zip(ellipsoids, task.means, strict=True)
            ]
        )
        for part in torch.split(unit, CHUNK)
    ]
    return _finite(torch.cat(distances, dim=1).min(dim=0).values)


@torch.no_grad()
def infer_tasks(readout: ReadoutConfig, tasks: Sequence[Gaussians], features: Tensor) -> Tensor:
    """Return the position (n,) of the inferred task of each feature (n, d).

    `tasks` contains the statistics of the learned tasks.
    """
    if readout.metric == "shared_cov":
        return nearest_task(shared_distances(readout, tasks, features))
    return nearest_task([task_distances(readout, task, features) for task in tasks])


@torch.no_grad()
def shared_distances(
    readout: ReadoutConfig, tasks: Sequence[Gaussians], features: Tensor
) -> list[Tensor]:
    """Return the distance (n,) to the nearest class of each task, under the pooled covariance."""
    unit = F.normalize(features, dim=1).double()
    width = unit.shape[1]
    pooled, weight = unit.new_zeros(width, width), 0
    for task in tasks:
        for index, size in enumerate(task.sizes.tolist()):
            root = task.root(index).double()
            pooled += (size - 1) * (root.T @ root + torch.diag(task.spread[index].double()))
            weight += size - 1
    pooled /= max(weight, 1)
    pooled.diagonal().add_(RIDGE)
    mean = pooled.diagonal().mean()
    off = (pooled.sum() - pooled.diagonal().sum()) / max(width * (width - 1), 1)
    pooled += readout.shrinkage_off * off
    pooled.diagonal().add_(readout.shrinkage_diag * mean - readout.shrinkage_off * off)
    factor = torch.linalg.cholesky(pooled)
    whitened = torch.linalg.solve_triangular(factor, unit.T, upper=False).T
    return [
        _finite(
            torch.cdist(
                whitened,
                torch.linalg.solve_triangular(factor, task.means.double().T, upper=False).T,
            )
            .min(dim=1)
            .values
        )
        for task in tasks
    ]


def nearest_task(distances: Sequence[Tensor]) -> Tensor:
    """Return the index (n,) of the smallest distance, on the CPU; ties go to the earlier one."""
    return torch.stack(list(distances)).argmin(dim=0).cpu()


def vote(inferred: Tensor, order: Tensor, size: int) -> Tensor:
    """Return the majority (n,) of `inferred` (n,) in each batch of `size` images.

    Batches are consecutive in `order` (n,); the last one may be smaller. Ties go to the earlier
    task.
    """
    voted = torch.empty_like(inferred)
    for batch in torch.split(order.argsort(stable=True), size):
        voted[batch] = torch.bincount(inferred[batch]).argmax()
    return voted


@final
class Ellipsoid:
    """Squared Mahalanobis distance to a center, computed from the root of the covariance.

    S = U^T U + diag(p) + b 11^T, so S^-1 follows from the (rank, rank) matrix I + U diag(p)^-1 U^T
    (Woodbury) and one vector (Sherman and Morrison); no (d, d) matrix is formed. S is positive
    definite if the off-diagonal shrinkage is at most the diagonal one.
    """

    def __init__(
        self,
        root: Tensor,
        spread: Tensor,
        covariance: float,
        shrinkage_diag: float,
        shrinkage_off: float,
        *,
        correlation: bool,
    ) -> None:
        """Take `root` (rank, d), the remaining variances `spread` (d,), the mean `covariance`."""
        u = root.double()
        variances = spread.double() + u.square().sum(dim=0) + RIDGE
        added = shrinkage_diag * variances.mean()
        self.b = shrinkage_off * covariance
        self.stretch = (variances + added).sqrt() if correlation else torch.ones_like(variances)
        self.scale = (spread.double() + RIDGE + added - self.b).sqrt()  # sqrt p, (d,)
        w = u / self.scale
        gram = w @ w.T
        gram.diagonal().add_(1.0)
        factor = torch.linalg.cholesky(gram)
        self.w = torch.linalg.solve_triangular(factor, w, upper=False)  # (rank, d)
        ones = 1.0 / self.scale
        self.ones = ones - self.w.T @ (self.w @ ones)  # (d,) image of 1, before the last 1/sqrt p
        self.total = 1.0 + self.b * float(ones @ self.ones)

    def __call__(self, differences: Tensor) -> Tensor:
        """Return squared distances (n,), at least 0, for differences (n, d) from the center."""
        y = differences.double() * self.stretch / self.scale  # (n, d)
        quadratic = y.square().sum(dim=1) - (y @ self.w.T).square().sum(dim=1)
        if self.b != 0:
            quadratic = quadratic - self.b * (y @ self.ones).square() / self.total
        distances: Tensor = quadratic.clamp_min(0)
        return distances


def _finite(distances: Tensor) -> Tensor:
    if not torch.isfinite(distances).all():
        raise DivergedError(
            "features of evaluated images are no longer finite. Lower train.lr or set "
            "train.grad_clip."
        )
    return distances
