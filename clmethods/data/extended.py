"""ExtendedTaskStream: the images of a stream and of one task that came later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol, final

import torch
from torch import Tensor

from clmethods.config.extension import ExtendedStream
from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.data.streams import Split, TaskData, TaskStream
from clmethods.data.transforms import alike


class ImageSource(Protocol):
    """What a stream is to training and evaluation."""

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """All images of `classes` in `split`; raises `DatasetError` if data is missing."""

    def data_of(self, group: TaskGroup, split: Split) -> TaskData:
        """The images of one task."""

    def data_of_all(
        self, groups: Iterable[TaskGroup], split: Split, *, margin: bool = False
    ) -> TaskData:
        """The images of several tasks, with the margin that random crops use if wanted."""

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """(n,) index of each of these images in its dataset."""

    def places_of(self, group: TaskGroup, split: Split) -> Tensor:
        """(n,) index of the images of one task."""


@final
class ExtendedTaskStream:
    """Each part is opened when its images are first asked for: old data may be gone by then."""

    def __init__(
        self,
        config: ExtendedStream,
        image_size: int,
        open_stream: Callable[[StreamConfig, int], ImageSource],
    ) -> None:
        self.config, self.image_size = config, image_size
        self._open = open_stream

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """All images of `classes` in `split`; raises `DatasetError` if a class has none."""
        first = self.config.base.facts.classes
        old = tuple(label for label in classes if label < first)
        new = tuple(label for label in classes if label >= first)
        parts = [self._base().data(old, split)] if old else []
        if new:
            parts.append(self._added(new, split))
        return _joined(parts)

    def data_of(self, group: TaskGroup, split: Split) -> TaskData:
        """The images of one task."""
        return self.data_of_all((group,), split)

    def data_of_all(
        self, groups: Iterable[TaskGroup], split: Split, *, margin: bool = False
    ) -> TaskData:
        """The images of several tasks."""
        known = tuple(groups)
        old = [group for group in known if group.index < self.config.base.tasks]
        parts = [self._base().data_of_all(old, split, margin=margin)] if old else []
        for group in known:
            if group.index >= self.config.base.tasks:
                parts.append(self._added(group.classes, split, margin))
        return _joined(parts)

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """(n,) place of every image that `data` gives; those of the added task come last."""
        first = self.config.base.facts.classes
        old = tuple(label for label in classes if label < first)
        own = self._own(tuple(label for label in classes if label >= first))
        found = [self._base().places(old, split)] if old else []
        if own:
            start = int(found[0].max()) + 1 if found else 0
            added = self._open(self.config.added.stream, self.image_size).places(own, split)
            found.append(start + added)
        return torch.cat(found)

    def places_of(self, group: TaskGroup, split: Split) -> Tensor:
        """(n,) place of every image that `data_of` gives."""
        if group.index < self.config.base.tasks:
            return self._base().places_of(group, split)
        return self.places(group.classes, split)

    def _base(self) -> ImageSource:
        return self._open(self.config.base, self.image_size)

    def _own(self, classes: tuple[int, ...]) -> tuple[int, ...]:
        """Ids in the dataset of the added task."""
        first = self.config.base.facts.classes
        return tuple(self.config.added.classes[label - first] for label in classes)

    def _added(self, classes: tuple[int, ...], split: Split, margin: bool = False) -> TaskData:
        stream = self._open(self.config.added.stream, self.image_size)
        own, given = self._own(classes), self.config.added.stream.groups()
        domains = [TaskGroup(group.index, own, group.domain) for group in given]
        found = stream.data_of_all(domains, split, margin=margin)
        ids = torch.tensor(self.config.added.classes)
        first = self.config.base.facts.classes
        return TaskData(found.images, first + torch.searchsorted(ids, found.labels))


@lru_cache(maxsize=8)
def open_stream(config: StreamConfig, image_size: int) -> TaskStream | ExtendedTaskStream:
    """The images of a stream, opened once per process and read-only."""
    if isinstance(config, ExtendedStream):
        return ExtendedTaskStream(config, image_size, open_stream)
    return TaskStream(config, image_size)


def _joined(parts: list[TaskData]) -> TaskData:
    """One after another; grey joins colour and small joins large by becoming like it."""
    images = alike([part.images for part in parts])
    return TaskData(torch.cat(images), torch.cat([part.labels for part in parts]))
