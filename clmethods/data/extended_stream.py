"""Images of an extended stream, which consists of a base stream and one added task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol, final

import torch
from torch import Tensor

from clmethods.config.extension import ExtendedStream
from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.data.original_images import OriginalImage
from clmethods.data.streams import Split, TaskData, TaskStream
from clmethods.data.transforms import to_same_shape


class ImageSource(Protocol):
    """Interface of streams for training and evaluation."""

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """Return all images of `classes` in `split`; raises `DatasetError` if data is missing."""

    def data_of(self, group: TaskGroup, split: Split) -> TaskData:
        """Return the images of one task."""

    def data_of_all(
        self, groups: Iterable[TaskGroup], split: Split, *, margin: bool = False
    ) -> TaskData:
        """Return the images of several tasks; `margin` includes the margin for random crops."""

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """Return the index (n,) in the dataset of each image that `data` returns."""

    def places_of(self, group: TaskGroup, split: Split) -> Tensor:
        """Return the index (n,) in the dataset of each image that `data_of` returns."""

    def originals(self, classes: tuple[int, ...], split: Split) -> list[OriginalImage]:
        """Return the original of each image that `data` returns."""


@final
class ExtendedTaskStream:
    """Images of a base stream and one added task.

    Each part is opened when its images are first requested, because the data of the base stream
    may not be available anymore.
    """

    def __init__(
        self,
        config: ExtendedStream,
        image_size: int,
        open_stream: Callable[[StreamConfig, int], ImageSource],
    ) -> None:
        self.config, self.image_size = config, image_size
        self._open = open_stream

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """Return all images of `classes` in `split`; raises `DatasetError` if a class has none."""
        first = self.config.base.facts.classes
        old = tuple(label for label in classes if label < first)
        new = tuple(label for label in classes if label >= first)
        parts = [self._base().data(old, split)] if old else []
        if new:
            parts.append(self._added(new, split))
        return _joined(parts)

    def data_of(self, group: TaskGroup, split: Split) -> TaskData:
        """Return the images of one task."""
        return self.data_of_all((group,), split)

    def data_of_all(
        self, groups: Iterable[TaskGroup], split: Split, *, margin: bool = False
    ) -> TaskData:
        """Return the images of several tasks; `margin` includes the margin for random crops."""
        selected = tuple(groups)
        old = [group for group in selected if group.index < self.config.base.tasks]
        parts = [self._base().data_of_all(old, split, margin=margin)] if old else []
        for group in selected:
            if group.index >= self.config.base.tasks:
                parts.append(self._added(group.classes, split, margin))
        return _joined(parts)

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """Return the index (n,) of each image that `data` returns.

        Indices of the added task follow those of the base stream.
        """
        first = self.config.base.facts.classes
        old = tuple(label for label in classes if label < first)
        original = self._original_ids(tuple(label for label in classes if label >= first))
        parts = [self._base().places(old, split)] if old else []
        if original:
            start = int(parts[0].max()) + 1 if parts else 0
            added = self._open(self.config.added.stream, self.image_size).places(original, split)
            parts.append(start + added)
        return torch.cat(parts)

    def places_of(self, group: TaskGroup, split: Split) -> Tensor:
        """Return the index (n,) of each image that `data_of` returns."""
        if group.index < self.config.base.tasks:
            return self._base().places_of(group, split)
        return self.places(group.classes, split)

    def originals(self, classes: tuple[int, ...], split: Split) -> list[OriginalImage]:
        """Return the original of each image that `data` returns."""
        first = self.config.base.facts.classes
        old = tuple(label for label in classes if label < first)
        new = self._original_ids(tuple(label for label in classes if label >= first))
        found = self._base().originals(old, split) if old else []
        if new:
            added = self._open(self.config.added.stream, self.image_size)
            found = found + added.originals(new, split)
        return found

    def _base(self) -> ImageSource:
        return self._open(self.config.base, self.image_size)

    def _original_ids(self, classes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the class ids in the dataset of the added task."""
        first = self.config.base.facts.classes
        return tuple(self.config.added.classes[label - first] for label in classes)

    def _added(self, classes: tuple[int, ...], split: Split, margin: bool = False) -> TaskData:
        stream = self._open(self.config.added.stream, self.image_size)
        original, groups = self._original_ids(classes), self.config.added.stream.groups()
        domains = [TaskGroup(group.index, original, group.domain) for group in groups]
        data = stream.data_of_all(domains, split, margin=margin)
        ids = torch.tensor(self.config.added.classes)
        first = self.config.base.facts.classes
        return TaskData(data.images, first + torch.searchsorted(ids, data.labels))


@lru_cache(maxsize=8)
def open_stream(config: StreamConfig, image_size: int) -> TaskStream | ExtendedTaskStream:
    """Return the images of a stream. It is opened once per process; do not modify the images."""
    if isinstance(config, ExtendedStream):
        return ExtendedTaskStream(config, image_size, open_stream)
    return TaskStream(config, image_size)


def _joined(parts: list[TaskData]) -> TaskData:
    """Concatenate parts; gray images become RGB and small images are enlarged if necessary."""
    images = to_same_shape([part.images for part in parts])
    return TaskData(torch.cat(images), torch.cat([part.labels for part in parts]))
