"""`TaskBatches`: the batches of a task, prepared while the device computes the steps before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, final

import torch
from torch import Tensor

from clmethods.config.train import TrainConfig
from clmethods.data.streams import TaskData
from clmethods.data.transforms import Crops, cropped, draw_crops, upload
from clmethods.nn.backbone import FrozenBackbone

Place = Literal["host", "device", "streamed"]
"""Place of the images of a task: all on the CPU, all on the GPU, or copied to it by batch."""

AHEAD = 2
"""Number of batches that are prepared before they are needed."""
MAX_SHARE = 1 / 8
"""Largest share of the free memory of a GPU that the images of a task may fill."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images of a step, as the network expects them, on its device."""

    pixels: Tensor
    """(B, 3, H, W)"""
    labels: Tensor
    """(B,) original class ids."""


@final
class TaskBatches:
    """Batches of all epochs of a task.

    Images remain uint8 until they are on the device of the backbone, where they are enlarged,
    cropped and normalized. For the CPU, a thread does this work ahead of the step. For a GPU, all
    images are copied at once if they fit; otherwise a thread copies the next batches to pinned
    memory. The place changes no bit of a batch: all random numbers are drawn on the CPU, in the
    order of the batches, by the thread that iterates.
    """

    def __init__(
        self,
        data: TaskData,
        backbone: FrozenBackbone,
        train: TrainConfig,
        shuffle: torch.Generator,
        crops: torch.Generator,
        place: Place | None = None,
    ) -> None:
        """Take the generators of the order of the images and of their crops, on the CPU.

        `place` is chosen by default from the device and its free memory.
        """
        self.place = place or place_of(data.images.nbytes, backbone.device)
        self._backbone, self._train = backbone, train
        self._shuffle, self._crops = shuffle, crops
        self._images, self._labels = data.images, data.labels
        if self.place == "device":
            self._images = data.images.to(backbone.device)
        if self.place != "host":
            self._labels = data.labels.to(backbone.device)
        self._thread = ThreadPoolExecutor(1, "pixels") if self.place != "device" else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def epoch(self) -> Iterator[Batch]:
        """Iterate over all images in a new order."""
        size, kind = self._train.batch_size, self._train.augment
        order = torch.randperm(len(self._labels), generator=self._shuffle)
        on_device = order if self.place == "host" else upload(order, self._backbone.device)
        waiting: deque[_Prepared] = deque()
        for chosen, places in zip(
            torch.split(order, size), torch.split(on_device, size), strict=True
        ):
            crops = draw_crops(len(chosen), kind, self._crops)
            waiting.append(self._prepare(chosen, places, crops))
            if len(waiting) > (AHEAD if self._thread is not None else 0):
                yield self._finished(waiting.popleft())
        while waiting:
            yield self._finished(waiting.popleft())

    def _prepare(self, chosen: Tensor, places: Tensor, crops: Crops | None) -> _Prepared:
        """Start the preparation of a batch; `places` are the indices on the device."""
        if self._thread is None:
            return _Prepared(None, places, crops)
        work = self._pixels if self.place == "host" else self._pinned
        return _Prepared(self._thread.submit(work, chosen, crops), places, crops)

    def _finished(self, batch: _Prepared) -> Batch:
        labels = self._labels[batch.places]
        if self.place == "host" and batch.work is not None:
            return Batch(batch.work.result(), labels)
        crops = None if batch.crops is None else batch.crops.to(self._backbone.device)
        if batch.work is None:
            return Batch(self._pixels(batch.places, crops), labels)
        images = batch.work.result().to(self._backbone.device, non_blocking=True)
        return Batch(self._transformed(images, crops), labels)

    def _pixels(self, chosen: Tensor, crops: Crops | None) -> Tensor:
        return self._transformed(self._images[chosen], crops)

    def _pinned(self, chosen: Tensor, crops: Crops | None) -> Tensor:
        images = self._images[chosen]
        return images if self._backbone.device == "cpu" else images.pin_memory()

    def _transformed(self, images: Tensor, crops: Crops | None) -> Tensor:
        size = self._backbone.config.image_size
        return self._backbone.preprocess(cropped(images, crops, size))


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    work: Future[Tensor] | None
    """Pixels, or images in pinned memory; None if there is nothing to prepare."""
    places: Tensor
    crops: Crops | None


def place_of(nbytes: int, device: str) -> Place:
    """Return the place of images of so many bytes, from the free memory of the device."""
    if device == "cpu":
        return "host"
    free, _ = torch.cuda.mem_get_info(device)
    return "device" if nbytes <= MAX_SHARE * free else "streamed"
