"""TaskStream: the images of any set of classes, in the split asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clmethods.config.canonical import derive_seed
from clmethods.config.stream import StreamConfig
from clmethods.data.datasets import DatasetError, LabelledImages, load

Split = Literal["train", "validation", "test"]
EVALUATED_SPLITS: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """Images of some classes, ordered by class and then by their place in the dataset."""

    images: Tensor
    """(n, H, W) uint8, grey."""
    labels: Tensor
    """(n,) int64, original class ids."""

    def __len__(self) -> int:
        return len(self.labels)


@final
class TaskStream:
    """Splits of a dataset; which task they belong to is the caller's business.

    Neither the task order nor the run's seed changes what any split holds.
    """

    def __init__(self, config: StreamConfig, image_size: int) -> None:
        self.config = config
        self._data: LabelledImages = load(config.dataset, image_size)
        for label in range(config.facts.classes):  # before anything is trained
            for split in get_args(Split):
                self._members(label, split)

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """All images of `classes` in `split`; raises `DatasetError` if a class has none."""
        chosen = self._chosen(classes, split)
        images = torch.from_numpy(self._data.images[chosen])
        return TaskData(images, torch.from_numpy(self._data.labels[chosen]))

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """(n,) index in the dataset of every image that `data` gives for the same arguments."""
        return torch.from_numpy(self._chosen(classes, split))

    def _chosen(self, classes: tuple[int, ...], split: Split) -> NDArray[np.intp]:
        return np.concatenate([self._members(label, split) for label in sorted(classes)])

    def _members(self, label: int, split: Split) -> NDArray[np.intp]:
        of_class = self._data.labels == label
        if split == "test":
            members = np.flatnonzero(of_class & self._data.test)
        else:
            members = np.flatnonzero(of_class & ~self._data.test)
            seed = derive_seed(self.config.split_seed, "split", self.config.dataset, label)
            shuffled = np.random.default_rng(seed).permutation(members)
            held_out = round(self.config.validation_fraction * len(members))
            chosen = shuffled[:held_out] if split == "validation" else shuffled[held_out:]
            members = np.sort(chosen)
        if len(members) == 0 and (split == "train" or self.config.validation_fraction > 0):
            raise DatasetError(f"{self.config.dataset}: class {label} has no images in {split}")
        return members if self.config.limit is None else members[: self.config.limit]
