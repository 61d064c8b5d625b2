"""Properties of a run that its method depends on, and sizes of tensors computed from shapes.

`MethodFields.stored` of a method configuration declares the tensors of each stage with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from clmethods.catalog.facts import BackboneFacts

DOUBLE = 8
"""Bytes of a number in float64 or int64, which does not depend on the precision of the run."""
ENTRY_BYTES = 80
"""Approximate bytes of a tensor's entry in the header of a safetensors file."""


@dataclass(frozen=True, slots=True)
class Size:
    """Total size of some tensors."""

    tensors: int = 0
    """Number of tensors."""
    nbytes: int = 0
    """Bytes of their content."""

    def __add__(self, other: Size) -> Size:
        return Size(self.tensors + other.tensors, self.nbytes + other.nbytes)

    def times(self, count: int) -> Size:
        """Return the size of `count` copies."""
        return Size(self.tensors * count, self.nbytes * count)

    @property
    def file_bytes(self) -> int:
        """Approximate bytes of a safetensors file with these tensors."""
        return self.nbytes + ENTRY_BYTES * self.tensors


def total(sizes: Iterable[Size]) -> Size:
    """Return the sum of sizes."""
    tensors = nbytes = 0
    for size in sizes:
        tensors, nbytes = tensors + size.tensors, nbytes + size.nbytes
    return Size(tensors, nbytes)


@dataclass(frozen=True, slots=True)
class EffectContext:
    """Properties of the rest of the run that the effect of a method depends on."""

    tasks: int
    """T, the number of tasks of the stream."""
    backbone: BackboneFacts

    @property
    def blocks(self) -> int:
        """Number of blocks of the backbone."""
        return self.backbone.blocks


@dataclass(frozen=True, slots=True)
class RunShapes:
    """Properties of a run, apart from its method, that determine tensor sizes.

    They are equal for most runs of a sweep, so that cached sizes are shared.
    """

    context: EffectContext
    side: int
    """Side of an image in pixels."""
    classes: int
    """C, the number of rows that the head has from the first stage on."""
    stages: tuple[int, ...]
    """Number of classes of each stage."""
    word: int
    """Bytes per number in the precision of the run."""
    images: int | None
    """Largest number of images of a class; None if it is not known without the data."""
    steps: tuple[int | None, ...]
    """Largest number of training steps of each stage; None if not known without the data."""

    @property
    def facts(self) -> BackboneFacts:
        """Facts of the backbone."""
        return self.context.backbone

    def size_of(self, *tensors: tuple[int, ...], word: int | None = None) -> Size:
        """Return the size of tensors of these shapes.

        `word` is the number of bytes per number, by default that of the run's precision.
        """
        return Size(len(tensors), sum(map(math.prod, tensors)) * (word or self.word))


Groups = dict[str, Size]
"""Sizes of tensors by name prefix. The tensors of a stage replace those of its parents."""
GroupsByStage = list[Groups]
"""Groups of each stage in order."""


def head(shapes: RunShapes) -> Groups:
    """Return the size of a linear head over all classes."""
    return {"head": shapes.size_of((shapes.classes, shapes.facts.width), (shapes.classes,))}


@lru_cache(maxsize=1024)
def module_sizes(
    fans: tuple[tuple[int, int], ...], depth: int, rank: int, word: int
) -> tuple[Size, ...]:
    """Return the size of A and B of the n largest adapted matrices, for n from 0 to all.

    `fans` are the (fan-in, fan-out) of the adapted sites of a block, `depth` is the number of
    adapted blocks, and `word` the number of bytes per number.
    """
    each = sorted((rank * (fan_in + fan_out) * word for fan_in, fan_out in fans), reverse=True)
    sizes = [Size()]
    for nbytes in each:
        sizes += [sizes[-1] + Size(2 * n, n * nbytes) for n in range(1, depth + 1)]
    return tuple(sizes)


@lru_cache(maxsize=1024)
def network(shapes: RunShapes) -> Size:
    """Return the size of a plain Vision Transformer.

    The additional tensors of variants, less than one percent, are ignored.
    """
    facts, width = shapes.facts, shapes.facts.width
    hidden, patch = facts.fan("f1")[1], facts.patch_size
    tokens = (shapes.side // patch) ** 2 + 1
    stem = shapes.size_of((width,), (tokens, width), (width, 3, patch, patch), (width,))
    norms = shapes.size_of((width,), (width,))
    attention = shapes.size_of((3 * width, width), (3 * width,), (width, width), (width,))
    mlp = shapes.size_of((hidden, width), (hidden,), (width, hidden), (width,))
    return stem + (norms.times(2) + attention + mlp).times(facts.blocks) + norms
