"""Forecast of the bytes that a run stores and keeps in memory, computed from tensor shapes.

A stage stores the tensors that it changed. Its state consists of the tensors of all stages of its
chain, where later tensors replace earlier ones of the same name. Shapes determine nearly all
sizes. The following sizes depend on data, and the forecast uses the largest possible size: which
matrices of LoRAC-IPC freeze if their sites differ in size, the number of importance samples of a
short task, the size of the bases of InfLoRA, the number of images (per class), and the number of
clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from clmethods.config.methods import MethodConfig
from clmethods.config.methods.run_shapes import DOUBLE, Groups, RunShapes, Size, network, total
from clmethods.config.readout import ROWS_PER_CLASS, GaussianKind, ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig

WORDS = {"float32": 4, "bfloat16": 4, "float64": 8}
"""Bytes per stored number for each `train.precision`."""


@dataclass(frozen=True, slots=True)
class StageSize:
    """Sizes of one stage."""

    delta: Size
    """Tensors that the stage stores."""
    state: Size
    """State after the stage, folded from the tensors of its chain."""


@dataclass(frozen=True, slots=True)
class RunMemory:
    """Upper bounds of the sizes of a run and its readouts."""

    stages: tuple[StageSize, ...]
    """Sizes of the stages in order."""
    statistics: tuple[Size, ...]
    """Statistics of the classes of each stage that the readouts keep while a trial is evaluated.
    Readouts with the same statistics share them."""
    network: Size
    """Weights of the backbone, of which every process holds one copy."""


def run_memory(run: RunConfig, readouts: Sequence[ReadoutConfig] = ()) -> RunMemory:
    """Return the forecast of a run, without loading weights or data.

    Results are cached, so that the forecast of many similar runs is fast.
    """
    shapes = _run_shapes(run)
    return RunMemory(
        _stage_sizes(run.method, shapes), _statistics(tuple(readouts), shapes), network(shapes)
    )


def _run_shapes(run: RunConfig) -> RunShapes:
    train, stream = run.train, run.stream
    sizes = _task_sizes(stream)
    if run.method.ORDER_FREE:
        sizes = (sum(sizes),)
    known = stream.limit is not None or train.epochs == 0
    images = stream.limit or 0
    return RunShapes(
        run.context,
        run.backbone.image_size,
        stream.facts.classes,
        (stream.facts.classes,) if run.method.ORDER_FREE else sizes,
        WORDS[train.precision],
        stream.limit,
        tuple(train.epochs * -(-images * size // train.batch_size) for size in sizes)
        if known
        else (None,) * len(sizes),
    )


def _task_sizes(stream: StreamConfig) -> tuple[int, ...]:
    """Return the number of classes of each task, in the order of learning."""
    return (_cached_sizes if stream.settled else _sizes)(stream)


def _sizes(stream: StreamConfig) -> tuple[int, ...]:
    return tuple(len(group.classes) for group in stream.sequence())


_cached_sizes = lru_cache(maxsize=4096)(_sizes)


@lru_cache(maxsize=32768)  # the number of configurations of a large sweep
def _stage_sizes(method: MethodConfig, shapes: RunShapes) -> tuple[StageSize, ...]:
    sizes, state, state_size = list[StageSize](), Groups(), Size()
    for groups in method.stored(shapes):
        delta = total(groups.values())
        replaced = total(state[name] for name in groups if name in state)
        state_size = Size(
            state_size.tensors + delta.tensors - replaced.tensors,
            state_size.nbytes + delta.nbytes - replaced.nbytes,
        )
        state |= groups
        sizes.append(StageSize(delta, state_size))
    return tuple(sizes)


@lru_cache(maxsize=1024)
def _statistics(readouts: tuple[ReadoutConfig, ...], shapes: RunShapes) -> tuple[Size, ...]:
    kinds = {kind for r in readouts for kind in (r.task_id_kind, r.tap_kind) if kind is not None}
    return tuple(
        total(_gaussians(kind, classes, shapes) for kind in kinds) for classes in shapes.stages
    )


def _gaussians(kind: GaussianKind, classes: int, shapes: RunShapes) -> Size:
    """Return the size of the clusters in a `clmethods.readout.gaussians.Gaussians`."""
    width, rows = shapes.facts.width, ROWS_PER_CLASS
    clusters = kind.clusters
    if shapes.images is not None:
        clusters, rows = max(1, min(clusters, shapes.images // 2)), min(rows, shapes.images)
    number = classes * clusters
    root = (classes * rows if kind.covariance else 0, width)
    integers = shapes.size_of((number,), (number,), (number,), word=DOUBLE)  # labels, sizes, ranks
    means_and_spread = shapes.size_of((number, width), (number, width))
    scales = shapes.size_of((number,), (number,))  # of the roots, and mean covariances
    return integers + means_and_spread + scales + shapes.size_of(root, word=shapes.word // 2)
