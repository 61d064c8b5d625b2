"""Features of ten classes around directions of their own, and the tasks that they come in."""

from __future__ import annotations

import torch
from torch import Tensor

from clmethods.config import ReadoutConfig
from clmethods.config.readout import GaussianKind
from clmethods.readout.gaussians import Gaussians, fit

TASKS = {0: (3, 8), 1: (0, 5), 2: (1, 9)}
IMAGES = 12


def clouds(seed: int, spread: float, images: int = IMAGES) -> dict[int, Tensor]:
    """Per class, features around a direction of its own."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(16, 10, generator=generator).double()).Q.T
    noise = torch.randn(10, images, 16, generator=generator).double()
    return {label: 5 * directions[label] + spread * noise[label] for label in range(10)}


def fitted(
    features: dict[int, Tensor], tasks: dict[int, tuple[int, ...]], kind: GaussianKind | None
) -> list[Gaussians]:
    """Statistics of each task."""
    assert kind is not None
    return [
        fit(
            torch.cat([features[label] for label in classes]),
            torch.tensor([label for label in classes for _ in features[label]]),
            kind,
            seed=0,
        )
        for classes in tasks.values()
    ]


def routed(**fields: object) -> ReadoutConfig:
    """A readout that infers tasks."""
    return ReadoutConfig(routing="instance", **fields)  # type: ignore[arg-type]
