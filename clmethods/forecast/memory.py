"""How many bytes a run stores and holds, from shapes alone: what a plan forecasts.

A stage stores the tensors that it changed, and its state is the fold of those of its chain. Both
are given here as groups of tensors by name, of which later ones win. Shapes decide nearly all of
it. Where data decides, the largest possible size stands: which of LoRAC-IPC's matrices freeze if
their sites differ in size, how many samples of importance a short task takes, how far InfLoRA's
bases grow, how many images (of a class) there are, and how many clusters these make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from clmethods.config.methods import MethodConfig
from clmethods.config.readout import ROWS_PER_CLASS, GaussianKind, ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.forecast.stored_tensors import DOUBLE, STORED, Groups, Room, Size, network, total

WORDS = {"float32": 4, "float64": 8}
"""Bytes of a number by `train.precision`."""


@dataclass(frozen=True, slots=True)
class StageSize:
    """What one stage comes to."""

    delta: Size
    """The tensors that it stores."""
    state: Size
    """The folded state after it."""


@dataclass(frozen=True, slots=True)
class RunMemory:
    """What a run and its readouts come to, at most."""

    stages: tuple[StageSize, ...]
    """In order."""
    statistics: tuple[Size, ...]
    """What the readouts keep of the classes of each stage while a trial is evaluated; those that
    read the same statistics share them."""
    network: Size
    """The backbone's weights, which every process holds once."""


def run_memory(run: RunConfig, readouts: Sequence[ReadoutConfig] = ()) -> RunMemory:
    """The forecast of a run, without weights or data. Cheap where runs are alike."""
    room = _room(run)
    return RunMemory(
        _stage_sizes(run.method, room), _statistics(tuple(readouts), room), network(room)
    )


def _room(run: RunConfig) -> Room:
    train, stream = run.train, run.stream
    sizes = _task_sizes(stream)
    if run.method.ORDER_FREE:
        sizes = (sum(sizes),)
    known = stream.limit is not None or train.epochs == 0
    images = stream.limit or 0
    return Room(
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
    """Classes of each task, in the order of learning."""
    return (_kept_sizes if stream.settled else _sizes)(stream)


def _sizes(stream: StreamConfig) -> tuple[int, ...]:
    return tuple(len(group.classes) for group in stream.sequence())


_kept_sizes = lru_cache(maxsize=4096)(_sizes)


@lru_cache(maxsize=32768)  # as many configurations as a large sweep has
def _stage_sizes(method: MethodConfig, room: Room) -> tuple[StageSize, ...]:
    found, state, whole = list[StageSize](), Groups(), Size()
    for groups in STORED[method.kind](method, room):
        delta = total(groups.values())
        replaced = total(state[name] for name in groups if name in state)
        whole = Size(
            whole.tensors + delta.tensors - replaced.tensors,
            whole.nbytes + delta.nbytes - replaced.nbytes,
        )
        state |= groups
        found.append(StageSize(delta, whole))
    return tuple(found)


@lru_cache(maxsize=1024)
def _statistics(readouts: tuple[ReadoutConfig, ...], room: Room) -> tuple[Size, ...]:
    kinds = {kind for r in readouts for kind in (r.task_id_kind, r.tap_kind) if kind is not None}
    return tuple(
        total(_gaussians(kind, classes, room) for kind in kinds) for classes in room.stages
    )


def _gaussians(kind: GaussianKind, classes: int, room: Room) -> Size:
    """The clusters of so many classes, as `clmethods.readout.gaussians.Gaussians` has them."""
    width, rows = room.facts.width, ROWS_PER_CLASS
    clusters = kind.clusters
    if room.images is not None:
        clusters, rows = max(1, min(clusters, room.images // 2)), min(rows, room.images)
    number = classes * clusters
    root = (classes * rows if kind.covariance else 0, width)
    whole = room.of((number,), (number,), (number,), word=DOUBLE)  # labels, sizes, ranks
    means_and_spread = room.of((number, width), (number, width))
    scales = room.of((number,), (number,))  # of the roots, and mean covariances
    return whole + means_and_spread + scales + room.of(root, word=room.word // 2)
