"""ExtendedTaskStream: the images of a stream and of one task that came later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, final

import torch
from torch import Tensor

from clmethods.config.extension import ExtendedStream
from clmethods.config.stream import StreamConfig
from clmethods.data.streams import Split, TaskData


class ImageSource(Protocol):
    """What a stream is to training and evaluation."""

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """All images of `classes` in `split`; raises `DatasetError` if a class has none."""

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """(n,) index of each of these images in its dataset."""


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
        own = [self.config.added.classes[label - first] for label in classes if label >= first]
        parts = [self._open(self.config.base, self.image_size).data(old, split)] if old else []
        if own:
            stream = self._open(self.config.added.stream, self.image_size)
            found = stream.data(tuple(own), split)
            ids = torch.tensor(self.config.added.classes)
            parts.append(TaskData(found.images, first + torch.searchsorted(ids, found.labels)))
        return TaskData(
            torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
        )

    def places(self, classes: tuple[int, ...], split: Split) -> Tensor:
        """(n,) place of every image that `data` gives; those of the added task come last."""
        first = self.config.base.facts.classes
        old = tuple(label for label in classes if label < first)
        own = tuple(
            self.config.added.classes[label - first] for label in classes if label >= first
        )
        found = [self._open(self.config.base, self.image_size).places(old, split)] if old else []
        if own:
            start = int(found[0].max()) + 1 if found else 0
            added = self._open(self.config.added.stream, self.image_size).places(own, split)
            found.append(start + added)
        return torch.cat(found)
