"""Number and bytes of the tensors that each method stores per stage, computed from shapes.

If a shape depends on data, the largest possible one is used; `clmethods.forecast.memory` lists
these cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clmethods.catalog.facts import BackboneFacts
from clmethods.config.methods import (
    AdapterFields,
    EffectContext,
    EwcConfig,
    InfLoraConfig,
    JointLoraConfig,
    LoracIpcConfig,
    NearestClassMeanConfig,
    RanpacConfig,
    SlcaConfig,
)

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


def _head(shapes: RunShapes) -> Groups:
    return {"head": shapes.size_of((shapes.classes, shapes.facts.width), (shapes.classes,))}


def _modules(method: AdapterFields, shapes: RunShapes, rank: int) -> tuple[Size, ...]:
    """Return the size of A and B of the n largest adapted matrices, for n from 0 to all."""
    fans = tuple(shapes.facts.fan(site) for site in method.ordered_sites())
    return _largest_first(fans, method.adapted_blocks(shapes.facts.blocks), rank, shapes.word)


@lru_cache(maxsize=1024)
def _largest_first(
    fans: tuple[tuple[int, int], ...], depth: int, rank: int, word: int
) -> tuple[Size, ...]:
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


def _linear(method: Any, shapes: RunShapes) -> GroupsByStage:
    return [_head(shapes)] * len(shapes.stages)


def _finetuned(method: Any, shapes: RunShapes) -> GroupsByStage:
    return [_head(shapes) | {"vit": network(shapes)}] * len(shapes.stages)


def _slca(method: SlcaConfig, shapes: RunShapes) -> GroupsByStage:
    width = shapes.facts.width
    rows = width if shapes.images is None else min(shapes.images, width)
    each = shapes.size_of((width,), (rows, width), word=DOUBLE)
    aligned = {"aligned": _head(shapes)["head"]} if method.align_epochs > 0 else {}
    return [
        groups | {f"class.{t}": each.times(shapes.stages[t])} | (aligned if t > 0 else {})
        for t, groups in enumerate(_finetuned(method, shapes))
    ]


def _ewc(method: EwcConfig, shapes: RunShapes) -> GroupsByStage:
    full = method.scope == "full"
    weights = network(shapes) if full else _modules(method, shapes, method.rank)[-1]
    return [_head(shapes) | {"weights": weights, "fisher": weights}] * len(shapes.stages)


def _one_module(method: AdapterFields, shapes: RunShapes) -> GroupsByStage:
    return [_head(shapes) | {"lora": _modules(method, shapes, method.rank)[-1]}] * len(
        shapes.stages
    )


def _joint_lora(method: JointLoraConfig, shapes: RunShapes) -> GroupsByStage:
    return [
        _head(shapes) | {"lora": _modules(method, shapes, method.rank * shapes.context.tasks)[-1]}
    ]


def _module_each(method: AdapterFields, shapes: RunShapes) -> GroupsByStage:
    module = _modules(method, shapes, method.rank)[-1]
    return [_head(shapes) | {f"lora.{t}": module} for t in range(len(shapes.stages))]


def _sd_lora(method: AdapterFields, shapes: RunShapes) -> GroupsByStage:
    modules = _module_each(method, shapes)
    if method.matrices(shapes.facts.blocks) == 0:
        return modules
    return [
        groups | {f"magnitudes.{t}": shapes.size_of((t + 1,))} for t, groups in enumerate(modules)
    ]


def _inflora(method: InfLoraConfig, shapes: RunShapes) -> GroupsByStage:
    """Return the groups of InfLoRA.

    Sites with the same input share A. A basis has at most half of all directions.
    """
    fans = {site: shapes.facts.fan(site) for site in method.ordered_sites()}
    inputs = {"qkv" if site in "qkv" else site: fan_in for site, (fan_in, _) in fans.items()}
    depth = method.adapted_blocks(shapes.facts.blocks)
    ups = shapes.size_of(*((fan_out, method.rank) for _, fan_out in fans.values()))
    downs = shapes.size_of(*((method.rank, fan_in) for fan_in in inputs.values()))
    bases = shapes.size_of(*((fan_in, fan_in // 2) for fan_in in inputs.values()), word=DOUBLE)
    sides = Size(len(inputs), len(inputs))  # one boolean per basis
    module, basis = (ups + downs).times(depth), (bases + sides).times(depth)
    return [
        _head(shapes) | {f"lora.{t}": module, "basis": basis} for t in range(len(shapes.stages))
    ]


def _lorac_ipc(method: LoracIpcConfig, shapes: RunShapes) -> GroupsByStage:
    matrices, head = method.matrices(shapes.facts.blocks), _head(shapes)
    modules, trace = _modules(method, shapes, method.rank), method.trace_settings(shapes.context)
    stages: GroupsByStage = []
    for t, frozen in enumerate(method.forecast(shapes.context)):
        rows, steps = 1 if trace.target == "factors" else trace.window, shapes.steps[t]
        if steps is not None and trace.target != "factors":
            rows = min(rows, -(-steps // trace.every))
        weights = shapes.size_of((matrices, t + 1))
        groups = {
            f"lora.{t}": modules[matrices - frozen],
            f"omega.{t}": weights,
            f"frozen.{t}": Size(1, matrices),
            f"trace.{t}": shapes.size_of((rows, matrices)),
        }
        if t > 0 and frozen < matrices and method.module_weights == "live":
            groups["live"] = weights
        stages.append(head | groups)
    return stages


def _class_means(method: NearestClassMeanConfig, shapes: RunShapes) -> GroupsByStage:
    bias = [()] if method.metric == "euclid" else []
    each = shapes.size_of((shapes.facts.width,), *bias)
    return [{f"mean.{t}": each.times(classes)} for t, classes in enumerate(shapes.stages)]


def _ranpac(method: RanpacConfig, shapes: RunShapes) -> GroupsByStage:
    width = method.projection or shapes.facts.width
    column = shapes.size_of((width,), word=DOUBLE)
    sums = shapes.size_of((width * (width + 1) // 2,), (), word=DOUBLE)  # with the penalty
    session = {"lora": _modules(method, shapes, method.rank)[-1]}
    return [
        {"sums": sums, f"target.{t}": column.times(classes)}
        | (session if method.trains_at(t, shapes.context) else {})
        for t, classes in enumerate(shapes.stages)
    ]


STORED: dict[str, Callable[[Any, RunShapes], GroupsByStage]] = {
    "lorac_ipc": _lorac_ipc,
    "lora_sequential": _one_module,
    "lora_merge": _module_each,
    "o_lora": _module_each,
    "inflora": _inflora,
    "sd_lora": _sd_lora,
    "sequential_finetuning": _finetuned,
    "ewc": _ewc,
    "lwf": _finetuned,
    "slca": _slca,
    "linear_probe": _linear,
    "nearest_class_mean": _class_means,
    "ranpac": _ranpac,
    "joint_full": _finetuned,
    "joint_lora": _joint_lora,
    "joint_linear": _linear,
}
"""Sizes of the tensors that `end_task` of each method returns, by `kind`."""
