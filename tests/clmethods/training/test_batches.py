"""Batches of a task: the same bits wherever the images are, prepared ahead, and no thread left."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from clmethods.config import TrainConfig
from clmethods.data.streams import TaskData
from clmethods.data.transforms import Augment, augmented
from clmethods.nn.backbone import FrozenBackbone, load_backbone
from clmethods.training.batches import AHEAD, MAX_SHARE, Place, TaskBatches, place_of
from clmethods.training.stage import run_stage
from tests.clmethods.runs import TINY, same_bits, tiny_run, train

PLACES: tuple[Place, ...] = ("host", "device", "streamed")


def backbone(size: int = 16, normalise: str = "imagenet") -> FrozenBackbone:
    config = replace(TINY, image_size=size, normalise=normalise)  # type: ignore[arg-type]
    return load_backbone(config, "float32", "cpu")


def task(*shape: int) -> TaskData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return TaskData(images, torch.arange(shape[0]) % 3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epochs(data: TaskData, place: Place, kind: Augment) -> list[tuple[Tensor, Tensor]]:
    """Two epochs in batches of 4."""
    settings = TrainConfig(batch_size=4, augment=kind)
    generators = seeded(1), seeded(2)
    with TaskBatches(data, backbone(), settings, *generators, place=place) as batches:
        return [(b.pixels, b.labels) for _ in range(2) for b in batches.epoch()]


def one_by_one(data: TaskData, kind: Augment) -> list[tuple[Tensor, Tensor]]:
    """The same in the plain way: a batch is drawn, cropped and normalized when it is needed."""
    shuffle, crops = seeded(1), seeded(2)
    found: list[tuple[Tensor, Tensor]] = []
    for _ in range(2):
        for chosen in torch.split(torch.randperm(len(data), generator=shuffle), 4):
            images = augmented(data.images[chosen], kind, 16, crops)
            found.append((backbone().preprocess(images), data.labels[chosen]))
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        *(("none", shape) for shape in ((9, 16, 16), (9, 16, 16, 3), (9, 8, 8, 3))),
        *(("crop_flip", shape) for shape in ((9, 18, 18), (12, 18, 18, 3), (9, 8, 8, 3))),
        *(("cifar_ref", shape) for shape in ((9, 18, 18), (12, 18, 18, 3), (9, 8, 8, 3))),
    ],
)
def test_batches_have_the_same_bits_in_every_place(
    place: Place, kind: Augment, shape: tuple[int, ...]
) -> None:
    data = task(*shape)
    expected, found = one_by_one(data, kind), epochs(data, place, kind)
    assert len(found) == len(expected)
    for (pixels, labels), (other, same) in zip(found, expected, strict=True):
        assert same_bits(pixels, other)
        assert same_bits(labels, same)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["none", "crop_flip"])
def test_a_stage_has_the_same_bits_in_every_place(place: Place, kind: Augment) -> None:
    run = tiny_run(precision="float32", augment=kind, epochs=1)
    expected = train(run, until=0)
    with mock.patch("clmethods.training.batches.place_of", return_value=place):
        found = run_stage(run, expected.chain[0], {})
    for name, tensor in expected.state(0).items():
        assert same_bits(tensor, found.delta[name]), name


def test_pixels_are_computed_ahead_of_the_step_in_a_thread() -> None:
    threads: list[str] = []
    network = backbone()
    preprocess = network.preprocess

    def watched(images: Tensor) -> Tensor:
        threads.append(threading.current_thread().name)
        return preprocess(images)

    with (
        mock.patch.object(FrozenBackbone, "preprocess", lambda self, images: watched(images)),
        TaskBatches(task(40, 16, 16), network, TrainConfig(batch_size=4), *two()) as batches,
    ):
        iterator = batches.epoch()
        next(iterator)
        for _ in range(200):
            if len(threads) == AHEAD + 1:
                break
            threading.Event().wait(0.05)
        assert len(threads) == AHEAD + 1
        assert len(list(iterator)) == 9
    assert len(threads) == 10
    assert all(name.startswith("pixels") for name in threads)


def two() -> tuple[torch.Generator, torch.Generator]:
    return seeded(1), seeded(2)


@pytest.mark.parametrize("place", PLACES)
def test_no_thread_is_left(place: Place) -> None:
    """Neither after an epoch that was not finished, nor after a step that failed."""
    before = threading.active_count()
    settings = TrainConfig(batch_size=4)

    def failing() -> None:
        with TaskBatches(task(40, 16, 16), backbone(), settings, *two(), place=place) as batches:
            next(batches.epoch())
            raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        failing()
    assert threading.active_count() == before


@pytest.mark.parametrize("place", PLACES)
def test_an_error_in_the_preparation_reaches_the_step(place: Place) -> None:
    def failing(self: Any, images: Tensor) -> Tensor:
        raise MemoryError("no room")

    settings = TrainConfig(batch_size=4)
    with (
        mock.patch.object(FrozenBackbone, "preprocess", failing),
        TaskBatches(task(8, 16, 16), backbone(), settings, *two(), place=place) as batches,
        pytest.raises(MemoryError, match="no room"),
    ):
        list(batches.epoch())


def test_images_are_kept_on_a_gpu_if_they_fit() -> None:
    assert place_of(10**15, "cpu") == "host"
    free = 2**30
    with mock.patch("torch.cuda.mem_get_info", return_value=(free, 2 * free)):
        assert place_of(int(MAX_SHARE * free), "cuda") == "device"
        assert place_of(int(MAX_SHARE * free) + 1, "cuda") == "streamed"


def test_the_thread_uses_the_threads_of_the_run() -> None:
    """A new thread of Python takes over the number of threads of torch."""
    before = torch.get_num_threads()
    counts: list[int] = []
    try:
        torch.set_num_threads(1)
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert counts == [1]


def test_images_are_enlarged_after_they_are_copied() -> None:
    """Every place holds the small images: enlarged ones would need more memory."""
    small = backbone(32, "none")
    for place in PLACES:
        data = task(8, 8, 8, 3)
        with TaskBatches(data, small, TrainConfig(batch_size=8), *two(), place=place) as batches:
            assert batches._images.shape == (8, 8, 8, 3)
            (batch,) = batches.epoch()
            assert batch.pixels.shape == (8, 3, 32, 32)
