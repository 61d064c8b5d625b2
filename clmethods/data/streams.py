"""TaskStream: the images of a task, in the split asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np
import torch
from torch import Tensor

from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.data.datasets import open_images
from clmethods.data.decode import centre
from clmethods.data.source import DatasetError
from clmethods.data.splits import Indices, cells, drawn_splits
from clmethods.user_data.folder_listing import TEST, TRAIN, VALIDATION

Split = Literal["train", "validation", "test"]
EVALUATED_SPLITS: tuple[Split, ...] = ("validation", "test")
CODES: dict[Split, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """Images of some classes, ordered by class, by domain and by their place in the dataset."""

    images: Tensor
    """(n, s, s) grey or (n, s, s, 3) RGB, uint8. `FrozenBackbone.preprocess` takes both and
    brings s to the image size, where originals are smaller."""
    labels: Tensor
    """(n,) int64, original class ids."""

    def __len__(self) -> int:
        return len(self.labels)


@final
class TaskStream:
    """Splits of a dataset; neither the task order nor the run's seed changes what they hold."""

    def __init__(self, config: StreamConfig, image_size: int) -> None:
        """Raises `DatasetError` if data is missing or unreadable, or a split lacks a class."""
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
        for group in config.groups():  # before anything is trained
            for label in group.classes:
                for split in get_args(Split):
                    if held_out or split != "validation":
                        self._require(label, group, split)

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """All images of `classes` in `split`, whatever their domain."""
        return self._gather(((c, d) for c in sorted(classes) for d in self._domains), split)

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """(n,) index in the dataset of every image that `data` gives for the same arguments."""
        selected = ((c, d) for c in sorted(classes) for d in self._domains)
        return torch.from_numpy(self._chosen(selected, split))

    def data_of(self, group: TaskGroup, split: Split) -> TaskData:
        """The images of one task in `split`."""
        return self.data_of_all((group,), split)

    def places_of(self, group: TaskGroup, split: Split) -> Tensor:
        """(n,) index in the dataset of every image that `data_of` gives."""
        return torch.from_numpy(self._chosen(self._cells_of((group,)), split))

    def data_of_all(
        self, groups: Iterable[TaskGroup], split: Split, *, margin: bool = False
    ) -> TaskData:
        """The images of several tasks. With `margin`, cropped streams give the whole picture."""
        return self._gather(self._cells_of(groups), split, margin)

    def _cells_of(self, groups: Iterable[TaskGroup]) -> list[tuple[int, str]]:
        order = {domain: i for i, domain in enumerate(self._domains)}
        selected = {(c, order[g.domain]) for g in groups for c in g.classes}
        return [(c, self._domains[i]) for c, i in sorted(selected)]

    def _chosen(self, selected: Iterable[tuple[int, str]], split: Split) -> Indices:
        none = np.empty(0, np.intp)
        parts = [self._cells.get((label, domain, split), none) for label, domain in selected]
        return np.concatenate([none, *parts])

    def _gather(
        self, selected: Iterable[tuple[int, str]], split: Split, margin: bool = False
    ) -> TaskData:
        chosen = self._chosen(selected, split)
        images = self._data.images
        if not margin:
            images = centre(images, self.config.resizing)
        pixels = np.ascontiguousarray(np.asarray(images[chosen]))
        return TaskData(torch.from_numpy(pixels), torch.from_numpy(self._data.labels[chosen]))

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
