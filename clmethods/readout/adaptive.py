"""Task-adaptive prediction: a copy of the head is aligned to all classes on drawn features.

The features of each class under the snapshot of its task are modeled by Gaussians. From the second
task on, the copy of the head is trained on features drawn from them (docs/method.md section 5.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.readout import ReadoutConfig
from clmethods.readout.gaussians import RIDGE, Gaussians

MOMENTUM, DECAY = 0.9, 5e-4
"""Momentum and weight decay of the SGD optimizer that aligns the head."""

Head = tuple[Tensor, Tensor]
"""Weight (C, D) and bias (C,) over all classes."""


@final
class ClassMixtures:
    """Gaussian mixtures of the seen classes' features: mean + U^T a + sqrt(spread + RIDGE) b."""

    def __init__(self, tasks: Sequence[Gaussians]) -> None:
        self.classes = torch.unique(torch.cat([task.labels for task in tasks]))  # ascending
        self.labels = torch.cat([task.labels for task in tasks])  # (G,)
        self.sizes = torch.cat([task.sizes for task in tasks]).double()
        self.means = torch.cat([task.means for task in tasks])
        self.deviations = (torch.cat([task.spread for task in tasks]) + RIDGE).sqrt()
        self.roots = [task.root(index) for task in tasks for index in range(len(task))]
        self.rank = max(map(len, self.roots))

    def draw(self, clusters: Tensor, generator: torch.Generator) -> Tensor:
        """Return one feature (n, d) for each entry of `clusters` (n,)."""
        shape, like = (len(clusters), self.means.shape[1]), self.means
        noise = torch.randn(shape, generator=generator, dtype=like.dtype).to(like.device)
        drawn = self.means[clusters] + self.deviations[clusters] * noise
        if self.rank == 0:
            return drawn
        weights = torch.randn(
            (len(clusters), self.rank), generator=generator, dtype=like.dtype
        ).to(like.device)
        for cluster in torch.unique(clusters).tolist():
            rows = (clusters == cluster).nonzero().flatten()
            root = self.roots[cluster]
            drawn[rows] += weights[rows, : len(root)] @ root
        return drawn

    def epoch(
        self, steps: int, size: int, readout: ReadoutConfig, generator: torch.Generator
    ) -> Tensor:
        """Return the clusters (steps, size) to draw in an epoch, shuffled.

        `ours` has `size` features of every class and uses all of them. `ref` has `size` features
        of every cluster and uses those of the first `steps` batches, as in the public code.
        """
        rows: list[Tensor] = []
        for label in self.classes.tolist():
            own = (self.labels == label).nonzero().flatten()
            weights = (
                self.sizes[own] if readout.tap_mix == "size" else torch.ones(len(own)).double()
            )
            count = size * len(own) if readout.tap_steps == "ref" else size
            start = torch.rand(1, generator=generator, dtype=torch.float64)
            points = (torch.arange(count) + start) / count  # evenly spaced: preserves the shares
            chosen = torch.searchsorted((weights / weights.sum()).cumsum(0), points, right=True)
            rows.append(own[chosen.clamp_max(len(own) - 1)])
        drawn = torch.cat(rows)
        shuffled = drawn[torch.randperm(len(drawn), generator=generator)]
        return shuffled[: steps * size].view(steps, size)


def align_head(
    head: Head,
    tasks: Sequence[Gaussians],
    readout: ReadoutConfig,
    size: int,
    generator: torch.Generator,
) -> Head:
    """Return a copy of `head` in which the rows of the seen classes are aligned.

    `tasks` contains the statistics of all seen tasks, the latest last. A step uses `size`
    features. The other rows are copied bit for bit.
    """
    mixtures = ClassMixtures(tasks)
    rows = mixtures.classes.to(head[0].device)
    old = len(rows) - len(torch.unique(tasks[-1].labels))
    steps = old if readout.tap_steps == "ref" else len(rows)
    weight, bias = (part.detach()[rows].clone().requires_grad_() for part in head)
    optimizer = torch.optim.SGD([weight, bias], readout.tap_lr, MOMENTUM, weight_decay=DECAY)
    for epoch in range(readout.tap_epochs):
        rate = 0.5 * readout.tap_lr * (1.0 + math.cos(math.pi * epoch / readout.tap_epochs))
        optimizer.param_groups[0]["lr"] = rate
        for clusters in mixtures.epoch(steps, size, readout, generator):
            features = mixtures.draw(clusters, generator)
            targets = torch.searchsorted(mixtures.classes, mixtures.labels[clusters])
            with torch.enable_grad():
                logits = F.linear(features, weight, bias)
                loss = F.cross_entropy(logits, targets.to(logits.device))
            weight.grad, bias.grad = torch.autograd.grad(loss, [weight, bias])
            optimizer.step()
    aligned = (head[0].clone(), head[1].clone())
    aligned[0][rows], aligned[1][rows] = weight.detach(), bias.detach()
    return aligned
