"""Similarity and difficulty of tasks, from backbone features of training images.

For a class c with training features f, let m_c be their mean. The prototype of a task is the mean
of its class means, so all classes have equal weight. With s^2 the squared distance of a feature to
its class mean, averaged within classes and then over classes,

    distance(i, j) = |prototype_i - prototype_j| / s.

The difficulty of a task is the leave-one-out error of the nearest class mean among its own
classes: each image is excluded from the mean of its own class (in closed form). At most
`PER_CLASS` images per class and task are used, the first in the order of the dataset. Everything
is computed in float32 on the CPU with one thread, and rounded, so that different hosts give the
same result.

`python -m clmethods.task_features` reads a list of runs as JSON from stdin and stores their tables
in the cache, for processes that do not import torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from clmethods.config.backbone import BackboneConfig
from clmethods.config.from_dict import run_from_dict
from clmethods.config.stream import StreamConfig
from clmethods.config.task_table import TaskTable, table_id
from clmethods.config.train import TrainConfig
from clmethods.data.source import DatasetError
from clmethods.data.streams import TaskStream
from clmethods.data.task_tables import keep_table, kept_table
from clmethods.determinism import prepare_process
from clmethods.errors import InvalidConfigError
from clmethods.methods.base import Predictor
from clmethods.nn.backbone import load_backbone
from clmethods.nn.weights import WeightsError

PER_CLASS = 32
"""Maximum number of images per class and task."""
DIGITS = 5
"""Decimal places; smaller differences may be rounding errors of the features."""
TINY = 1e-12
"""Lower bound of the distance to a class mean."""


def task_table(backbone: BackboneConfig, stream: StreamConfig) -> TaskTable:
    """Return the table of a resolved backbone and stream, from the cache if possible.

    Raises `DatasetError` or `WeightsError` if the data or the weights are missing.
    """
    identity = table_id(backbone, stream)
    table = kept_table(identity)
    if table is None:
        table = compute_table(identity, _features(backbone, stream))
        keep_table(table)
    return table


def compute_table(identity: str, tasks: Sequence[Sequence[Tensor]]) -> TaskTable:
    """Compute the table of T tasks; a task is a sequence of the features (n, D) of its classes."""
    means = [torch.stack([f.mean(dim=0) for f in task]) for task in tasks]  # (C, D) each
    prototypes = torch.stack([mean.mean(dim=0) for mean in means])  # (T, D)
    within = [
        (f - mean).square().sum(dim=1).mean()
        for task, centers in zip(tasks, means, strict=True)
        for f, mean in zip(task, centers, strict=True)
    ]
    spread = torch.stack(within).mean().sqrt()
    gaps = (prototypes[:, None] - prototypes[None]).norm(dim=2)  # (T, T)
    distance = gaps / spread if spread > 0 else gaps
    difficulty = [_difficulty(task, mean) for task, mean in zip(tasks, means, strict=True)]
    return TaskTable(
        of=identity,
        distance=tuple(tuple(_rounded(value) for value in row) for row in distance.tolist()),
        error=tuple(_rounded(error) for error, _ in difficulty),
        ambiguity=tuple(_rounded(ambiguity) for _, ambiguity in difficulty),
    )


def _difficulty(task: Sequence[Tensor], means: Tensor) -> tuple[float, float]:
    """Return (error, ambiguity) of the nearest class mean, with leave-one-out class means.

    Without x, the mean of n features is (n m - x) / (n - 1); its distance from x is n / (n - 1)
    times that of m. A class with a single image has no such mean, and the image counts as wrong. A
    task with a single class has difficulty 0.
    """
    if len(task) == 1:
        return 0.0, 0.0
    wrong: list[Tensor] = []
    shares: list[Tensor] = []
    for label, embedded in enumerate(task):
        gaps = torch.cdist(embedded, means)  # (n, C)
        n = len(embedded)
        own = gaps[:, label] * n / (n - 1) if n > 1 else torch.full((1,), torch.inf)
        gaps[:, label] = torch.inf
        other = gaps.min(dim=1).values
        wrong.append((own >= other).float())
        shares.append(1.0 / (1.0 + other / own.clamp(min=TINY)))
    return float(torch.cat(wrong).mean()), float(torch.cat(shares).mean())


def _features(backbone: BackboneConfig, stream: StreamConfig) -> list[list[Tensor]]:
    """Return features (n, D) of training images, by task and class."""
    prepare_process(TrainConfig())
    network = load_backbone(backbone, "float32", "cpu")
    predictor = Predictor(network, network.build(), lambda h: h)
    limit = PER_CLASS if stream.limit is None else min(stream.limit, PER_CLASS)
    images = TaskStream(replace(stream, limit=limit), backbone.image_size)
    tasks: list[list[Tensor]] = []
    for group in stream.groups():
        data = images.data_of(group, "train")
        places = [(data.labels == label).nonzero()[:PER_CLASS, 0] for label in group.classes]
        embedded = predictor.features(data.images[torch.cat(places)])
        tasks.append([*torch.split(embedded, [len(place) for place in places])])
    return tasks


def _rounded(value: float) -> float:
    return round(value, DIGITS)


def main() -> int:
    """Run the command and return its exit status: 0, or 1 after a message on stderr."""
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
