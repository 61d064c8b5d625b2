"""Images and labels of the tasks of a stream, by split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np
import torch
from torch import Tensor

from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.data.datasets import open_images
from clmethods.data.image_decoding import center_crop
from clmethods.data.original_images import OriginalImage
from clmethods.data.source import DatasetError
from clmethods.data.splits import Indices, cells, drawn_splits
from clmethods.user_data.folder_listing import TEST, TRAIN, VALIDATION

Split = Literal["train", "validation", "test"]
EVALUATED_SPLITS: tuple[Split, ...] = ("validation", "test")
CODES: dict[Split, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """Images of some classes, ordered by class, domain and index in the dataset."""

    images: Tensor
    """(n, s, s) gray or (n, s, s, 3) RGB, uint8. `FrozenBackbone.preprocess` supports both, and
    enlarges images that are smaller than the image size."""
    labels: Tensor
    """(n,) int64, original class ids."""

    def __len__(self) -> int:
        return len(self.labels)


@final
class TaskStream:
    """Images of a stream by class, domain and split, independent of task order and run seed."""

    def __init__(self, config: StreamConfig, image_size: int) -> None:
        """Open the dataset and split it.

        Raises `DatasetError` if data is missing or unreadable, or if a class has no images in a
        split.
        """
        self.config = config
        self._data = open_images(config, image_size)
        splits = drawn_splits(config, self._data.source)
        facts = config.facts
        domains = self._data.source.domains if facts.recurring else None
        self._domains = [task.name for task in facts.given] if facts.recurring else [""]
        self._cells: dict[tuple[int, str, Split], Indices] = {}
        for label, cell in cells(self._data.source):
            domain = self._domains[0 if domains is None else int(domains[cell[0]])]
            for split in get_args(Split):
                members = cell[splits[cell] == CODES[split]][: config.limit]
                before = self._cells.get((label, domain, split), members[:0])
                self._cells[label, domain, split] = np.concatenate([before, members])
        held_out = config.validation_fraction > 0 or facts.given_validation
        for group in config.groups():  # check all tasks before the first one is trained
            for label in group.classes:
                for split in get_args(Split):
                    if held_out or split != "validation":
                        self._require(label, group, split)

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """Return all images of `classes` in `split`, from all domains."""
        return self._gather(((c, d) for c in sorted(classes) for d in self._domains), split)

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """Return the index (n,) in the dataset of each image that `data` returns."""
        selected = ((c, d) for c in sorted(classes) for d in self._domains)
        return torch.from_numpy(self._indices(selected, split))

    def data_of(self, group: TaskGroup, split: Split) -> TaskData:
        """Return the images of one task in `split`."""
        return self.data_of_all((group,), split)

    def originals(self, classes: tuple[int, ...], split: Split) -> list[OriginalImage]:
        """Return the original of each image that `data` returns."""
        source = self._data.source
        return [OriginalImage(source, int(index)) for index in self.places(classes, split)]

    def places_of(self, group: TaskGroup, split: Split) -> Tensor:
        """Return the index (n,) in the dataset of each image that `data_of` returns."""
        return torch.from_numpy(self._indices(self._cells_of((group,)), split))

    def data_of_all(
        self, groups: Iterable[TaskGroup], split: Split, *, margin: bool = False
    ) -> TaskData:
        """Return the images of several tasks.

        With `resize: crop`, `margin` returns the stored images without the center crop.
        """
        return self._gather(self._cells_of(groups), split, margin)

    def _cells_of(self, groups: Iterable[TaskGroup]) -> list[tuple[int, str]]:
        order = {domain: i for i, domain in enumerate(self._domains)}
        selected = {(c, order[g.domain]) for g in groups for c in g.classes}
        return [(c, self._domains[i]) for c, i in sorted(selected)]

    def _indices(self, selected: Iterable[tuple[int, str]], split: Split) -> Indices:
        none = np.empty(0, np.intp)
        parts = [self._cells.get((label, domain, split), none) for label, domain in selected]
        return np.concatenate([none, *parts])

    def _gather(
        self, selected: Iterable[tuple[int, str]], split: Split, margin: bool = False
    ) -> TaskData:
        indices = self._indices(selected, split)
        images = self._data.images
        if not margin:
            images = center_crop(images, self.config.resizing)
        pixels = np.ascontiguousarray(np.asarray(images[indices]))
        return TaskData(torch.from_numpy(pixels), torch.from_numpy(self._data.labels[indices]))

    def _require(self, label: int, group: TaskGroup, split: Split) -> None:
        if len(self._cells.get((label, group.domain, split), ())) > 0:
            return
        names = self._data.source.class_names
        called = f" ({names[label]})" if names else ""
        where = f" of {group.domain}" if group.domain else ""
        hint = "; raise validation_fraction, or set it to 0" if split == "validation" else ""
        raise DatasetError(
            f"{self.config.dataset}: class {label}{called} has no images in {split}{where}{hint}"
        )
