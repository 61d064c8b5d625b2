"""Share of a training step that the preparation of its pixels takes, on the embedded benchmarks.

Batches are prepared by a thread while the step before is computed. *In the step* are the CPU
seconds that the thread of the step spends on its batch; *prepared* are those of all threads, which
were part of the step when batches were prepared between the steps.

The second table has the CPU seconds of batches at 224 px, without a step.

    python benchmarks/pixels.py
"""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import dataclass

import torch

from clmethods.config import (
    BackboneConfig,
    LoracIpcConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    resolve,
    stage_chain,
)
from clmethods.data.streams import TaskData
from clmethods.data.transforms import Augment
from clmethods.determinism import open_run, prepare_process
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.backbone import FrozenBackbone, load_backbone
from clmethods.training.batches import TaskBatches

REPETITIONS = 7
STREAMS = ("digits", "glyph100", "embedded4", "digits-dil")
AUGMENTS: tuple[Augment, ...] = ("none", "crop_flip")


@dataclass(frozen=True)
class Seconds:
    """CPU seconds per batch, medians."""

    step: float
    """Without pixels."""
    in_step: float
    """Of the thread of the step, for its batch."""
    prepared: float
    """Of all threads, for a batch."""


def measured(run: RunConfig) -> Seconds:
    """Train steps of the first task, each repetition on a new epoch of two batches."""
    prepare_process(run.train)
    run = resolve(run)
    stage = stage_chain(run)[0]
    backbone, stream = open_run(run)
    method = LoracIpc(run, stage, backbone, {})
    data = stream.data_of_all(stage.groups, "train", margin=run.train.augment != "none")
    size = 2 * run.train.batch_size
    data = TaskData(data.images[:size], data.labels[:size])
    generators = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    steps, in_step, prepared = list[float](), list[float](), list[float]()
    with TaskBatches(data, backbone, run.train, *generators) as batches:
        for _ in range(REPETITIONS + 1):
            start = time.process_time()
            own = time.thread_time()
            both = list(batches.epoch())
            in_step.append((time.thread_time() - own) / len(both))
            prepared.append((time.process_time() - start) / len(both))
            start = time.process_time()
            terms = method.loss(both[0].pixels, both[0].labels)
            torch.stack(list(terms.values())).sum().backward()
            steps.append(time.process_time() - start)
    return Seconds(*(statistics.median(values[1:]) for values in (steps, in_step, prepared)))


def preparation(backbone: FrozenBackbone, side: int, augment: Augment) -> float:
    """Return the CPU seconds of a batch of 128 RGB images, the median."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (128, side, side, 3), generator=generator, dtype=torch.uint8)
    data, train = TaskData(images, torch.zeros(128)), TrainConfig(batch_size=128, augment=augment)
    seconds: list[float] = []
    with TaskBatches(data, backbone, train, generator, generator) as batches:
        for _ in range(REPETITIONS):
            start = time.process_time()
            for _ in batches.epoch():
                seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def main() -> None:
    """Print both tables, and the largest share."""
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, CPU seconds per batch")
    print("benchmark    augment        step  prepared  share before   in the step  share now")
    shares: list[float] = []
    for dataset in STREAMS:
        for augment in AUGMENTS:
            run = RunConfig(
                stream=StreamConfig(dataset=dataset, limit=80),
                method=LoracIpcConfig(rank=8),
                train=TrainConfig(batch_size=32, augment=augment),
            )
            found = measured(run)
            before, now = found.prepared / found.step, found.in_step / found.step
            shares.append(now / (1 + now))
            print(
                f"{dataset:<12} {augment:<10} {found.step:>6.3f} s {found.prepared:>7.4f} s"
                f" {before / (1 + before):>12.1%} {found.in_step:>11.5f} s {shares[-1]:>9.2%}"
            )
    config = BackboneConfig(
        name="vit_tiny_patch16_224", weights="random", normalise="imagenet", image_size=224
    )
    backbone = load_backbone(config, "float32", "cpu")
    print("batches of 128 images at 224 px: CPU seconds of one batch")
    for side, augment in ((32, "none"), (256, "crop_flip"), (224, "none")):
        print(f"  {side:>3} px, {augment:<9} {preparation(backbone, side, augment):>6.3f} s")
    print(f"pixel_share_of_step: {max(shares):.4f}")


if __name__ == "__main__":
    main()
