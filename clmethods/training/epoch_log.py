"""`EpochLog`: loss terms of the steps of an epoch, which the device hands over once per epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.task_contents import stage_title
from clmethods.methods.base import DivergedError


@final
class EpochLog:
    """Loss terms and gradient norms of the steps of one epoch.

    A step only adds its values, which stay on the device: reading a value would stop the step
    until the device has computed it. `read` copies the values of all steps at once.
    """

    def __init__(self, stage: StageSpec, epoch: int, first_step: int) -> None:
        """Take the epoch and the number of its first step in the stage, both counted from 0."""
        self._stage, self._epoch, self._first = stage, epoch, first_step
        self._names: tuple[str, ...] = ()
        self._values: list[Tensor] = []
        self._images: list[int] = []

    def add(self, values: Mapping[str, Tensor], images: int) -> None:
        """Add the scalars of a step on a batch of `images` images; every step has equal names."""
        self._names = tuple(values)
        self._values.append(torch.stack([value.detach() for value in values.values()]))
        self._images.append(images)

    def read(self) -> dict[str, float]:
        """Return the mean of each value over the images of the epoch.

        Raises `DivergedError` with the values of the first step that are not all finite.
        """
        if not self._values:
            return {}
        steps: list[list[float]] = torch.stack(self._values).tolist()
        for step, values in enumerate(steps):
            if not all(math.isfinite(value) for value in values):
                raise self._diverged(step, values)
        sums = [0.0] * len(self._names)
        for values, images in zip(steps, self._images, strict=True):
            sums = [total + value * images for total, value in zip(sums, values, strict=True)]
        return {
            name: total / sum(self._images) for name, total in zip(self._names, sums, strict=True)
        }

    def _diverged(self, step: int, values: list[float]) -> DivergedError:
        pairs = zip(self._names, values, strict=True)
        shown = ", ".join(f"{name}={value:g}" for name, value in pairs)
        return DivergedError(
            f"the loss of {stage_title(self._stage.groups)} is no longer finite at epoch "
            f"{self._epoch + 1}, step {self._first + step + 1}: {shown}. Lower train.lr or set "
            "train.grad_clip."
        )
