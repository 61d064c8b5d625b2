"""Task-ID inference: which task an image belongs to, from class means of frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor


@final
class ClassMeans:
    """Means of first-snapshot features per class seen, and the task of each class.

    The first snapshot is fixed for the whole run, so a class's mean never changes (method.md
    section 5.1; there with Gaussian clusters in place of means).
    """

    def __init__(self) -> None:
        self._means: list[Tensor] = []
        self._classes: list[int] = []
        self._tasks: list[int] = []

    def tensors(self) -> dict[str, Tensor]:
        """What `from_tensors` makes the same means of: means (C, D), classes (C,), tasks (C,)."""
        return {
            "means": torch.stack(self._means),
            "classes": torch.tensor(self._classes),
            "tasks": torch.tensor(self._tasks),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ClassMeans:
        """The means that `tensors` was called on."""
        means = cls()
        means._means = list(tensors["means"])
        means._classes = tensors["classes"].tolist()
        means._tasks = tensors["tasks"].tolist()
        return means

    def add_task(self, task: int, features: Tensor, labels: Tensor) -> None:
        """Take in a task's training features (n, D), with original labels (n,)."""
        unit = F.normalize(features, dim=1)
        for label in torch.unique(labels).tolist():
            self._means.append(unit[labels == label].mean(dim=0))
            self._classes.append(int(label))
            self._tasks.append(task)

    def infer(self, features: Tensor, metric: Literal["cosine", "euclid"]) -> Tensor:
        """(n, D) features to (n,) positions of the inferred tasks."""
        means = torch.stack(self._means)  # (C_seen, D)
        unit = F.normalize(features, dim=1)
        if metric == "cosine":
            nearest = (unit @ F.normalize(means, dim=1).T).argmax(dim=1)
        else:
            nearest = torch.cdist(unit, means).argmin(dim=1)
        return torch.tensor(self._tasks)[nearest.cpu()]
