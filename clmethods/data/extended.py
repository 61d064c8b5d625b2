"""ExtendedTaskStream: the images of a stream and of one task that came later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, final

import torch

from clmethods.config.extension import ExtendedStream
from clmethods.config.stream import StreamConfig
from clmethods.data.streams import Split, TaskData


class ImageSource(Protocol):
    """What a stream is to training and evaluation."""

    def data(self, classes: tuple[int, ...], split: Split) -> TaskData:
        """All images of `classes` in `split`; raises `DatasetError` if a class has none."""


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
