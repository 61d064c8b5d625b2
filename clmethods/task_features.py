"""Task tables: similarity and difficulty of tasks, from backbone features of training images.

For a class c with training features f, let m_c be their mean. The prototype of a task is the mean
of its class means, so each class counts alike. With s^2 the squared distance of a feature to its
class mean, averaged within classes and then over them,

    distance(i, j) = |prototype_i - prototype_j| / s.

The difficulty of a task is the error of the nearest class mean among its own classes, each image
being left out of the mean of its own class (which has a closed form). At most `PER_CLASS` images
a class and task are taken, the first in the order of the dataset. Everything is computed in
float32 on the CPU with one thread, and rounded, so that hosts agree.

`python -m clmethods.task_features` reads a list of runs as JSON from stdin and puts their tables
into the cache; it lets a process without torch have them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from clmethods.config.backbone import BackboneConfig
from clmethods.config.decode import run_from_dict
from clmethods.config.stream import StreamConfig
from clmethods.config.task_table import TaskTable, table_id
from clmethods.config.train import TrainConfig
from clmethods.data.source import DatasetError
from clmethods.data.streams import TaskStream
from clmethods.data.task_tables import keep_table, kept_table
from clmethods.determinism import prepare_process
from clmethods.errors import InvalidConfigError
from clmethods.methods.base import Predictor
from clmethods.nn.backbone import WeightsError, load_backbone

PER_CLASS = 32
"""Images of a class in a task that are looked at."""
DIGITS = 5
"""After the point: finer differences may be rounding of the features."""
TINY = 1e-12
"""The least distance to a class mean, in place of 0."""


def task_table(backbone: BackboneConfig, stream: StreamConfig) -> TaskTable:
    """The table of a resolved backbone and stream, from the cache if it is there.

    Raises `DatasetError` or `WeightsError` where the data or the weights are missing.
    """
    identity = table_id(backbone, stream)
    found = kept_table(identity)
    if found is None:
        found = measured(identity, _features(backbone, stream))
        keep_table(found)
    return found


def measured(identity: str, tasks: Sequence[Sequence[Tensor]]) -> TaskTable:
    """The table of T tasks, each given as the features (n, D) of its classes."""
    means = [torch.stack([found.mean(dim=0) for found in task]) for task in tasks]  # (C, D) each
    prototypes = torch.stack([mean.mean(dim=0) for mean in means])  # (T, D)
    within = [
        (found - mean).square().sum(dim=1).mean()
        for task, centres in zip(tasks, means, strict=True)
        for found, mean in zip(task, centres, strict=True)
    ]
    spread = torch.stack(within).mean().sqrt()
    gaps = (prototypes[:, None] - prototypes[None]).norm(dim=2)  # (T, T)
    distance = gaps / spread if spread > 0 else gaps
    hard = [_difficulty(task, mean) for task, mean in zip(tasks, means, strict=True)]
    return TaskTable(
        of=identity,
        distance=tuple(tuple(_rounded(value) for value in row) for row in distance.tolist()),
        error=tuple(_rounded(error) for error, _ in hard),
        ambiguity=tuple(_rounded(ambiguity) for _, ambiguity in hard),
    )


def _difficulty(task: Sequence[Tensor], means: Tensor) -> tuple[float, float]:
    """(error, ambiguity) of the nearest class mean, every image left out of its own class mean.

    Without x, the mean of n features is (n m - x) / (n - 1), which is n / (n - 1) times as far
    from x. A class of one image has no mean without it: the image counts as wrong. A task of one
    class is as easy as can be.
    """
    if len(task) == 1:
        return 0.0, 0.0
    wrong: list[Tensor] = []
    shares: list[Tensor] = []
    for label, found in enumerate(task):
        gaps = torch.cdist(found, means)  # (n, C)
        n = len(found)
        own = gaps[:, label] * n / (n - 1) if n > 1 else torch.full((1,), torch.inf)
        gaps[:, label] = torch.inf
        other = gaps.min(dim=1).values
        wrong.append((own >= other).float())
        shares.append(1.0 / (1.0 + other / own.clamp(min=TINY)))
    return float(torch.cat(wrong).mean()), float(torch.cat(shares).mean())


def _features(backbone: BackboneConfig, stream: StreamConfig) -> list[list[Tensor]]:
    """By task and class, (n, D) features of training images, never of held-out ones."""
    prepare_process(TrainConfig())
    network = load_backbone(backbone, "float32", "cpu")
    predictor = Predictor(network, network.build(), lambda h: h)
    most = PER_CLASS if stream.limit is None else min(stream.limit, PER_CLASS)
    images = TaskStream(replace(stream, limit=most), backbone.image_size)
    tasks: list[list[Tensor]] = []
    for group in stream.groups():
        data = images.data_of(group, "train")
        places = [(data.labels == label).nonzero()[:PER_CLASS, 0] for label in group.classes]
        found = predictor.features(data.images[torch.cat(places)])
        tasks.append([*torch.split(found, [len(place) for place in places])])
    return tasks


def _rounded(value: float) -> float:
    return round(value, DIGITS)


def main() -> int:
    """Exit status of the command: 0, or 1 after a message on stderr."""
    runs = [run_from_dict(run) for run in json.load(sys.stdin)]
    try:
        for run in runs:
            task_table(run.backbone, run.stream)
    except (DatasetError, WeightsError, InvalidConfigError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
