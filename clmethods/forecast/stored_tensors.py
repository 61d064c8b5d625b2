"""What each method stores of a stage, as numbers and bytes of tensors: shapes without tensors.

Where data decides a shape, the largest possible one stands; `memory.py` says where.
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
"""Bytes of a number in float64 or int64, whatever the precision of the run."""
ENTRY_BYTES = 80
"""What a tensor takes in the header of a safetensors file, with a name as they are here."""


@dataclass(frozen=True, slots=True)
class Size:
    """Some tensors."""

    tensors: int = 0
    nbytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.tensors + other.tensors, self.nbytes + other.nbytes)

    def times(self, count: int) -> Size:
        """So many of it."""
        return Size(self.tensors * count, self.nbytes * count)

    @property
    def file_bytes(self) -> int:
        """About what a safetensors file of it takes."""
        return self.nbytes + ENTRY_BYTES * self.tensors


def total(sizes: Iterable[Size]) -> Size:
    """All of them together."""
    tensors = nbytes = 0
    for size in sizes:
        tensors, nbytes = tensors + size.tensors, nbytes + size.nbytes
    return Size(tensors, nbytes)


@dataclass(frozen=True, slots=True)
class Room:
    """What of a run sizes depend on beside its method. Equal for most runs of a sweep."""

    context: EffectContext
    side: int
    """Of the image, in pixels."""
    classes: int
    """C, for which the head has rows from the beginning."""
    stages: tuple[int, ...]
    """Classes of each stage."""
    word: int
    images: int | None
    """Of a class, at most; None if only the data says it."""
    steps: tuple[int | None, ...]
    """Of training at each stage, at most; None if only the data says it."""

    @property
    def facts(self) -> BackboneFacts:
        return self.context.backbone

    def of(self, *shapes: tuple[int, ...], word: int | None = None) -> Size:
        """Tensors of these shapes, in the precision of the run unless `word` says another."""
        return Size(len(shapes), sum(map(math.prod, shapes)) * (word or self.word))


Groups = dict[str, Size]
"""Tensors by the beginning of their names; a stage replaces those that its parents had."""
Stored = list[Groups]
"""By stage."""


def _head(room: Room) -> Groups:
    return {"head": room.of((room.classes, room.facts.width), (room.classes,))}


def _modules(method: AdapterFields, room: Room, rank: int) -> tuple[Size, ...]:
    """A and B of the n largest adapted matrices, for every n from 0 to all of them."""
    fans = tuple(room.facts.fan(site) for site in method.ordered_sites())
    return _largest_first(fans, method.adapted_blocks(room.facts.blocks), rank, room.word)


@lru_cache(maxsize=1024)
def _largest_first(
    fans: tuple[tuple[int, int], ...], depth: int, rank: int, word: int
) -> tuple[Size, ...]:
    each = sorted((rank * (fan_in + fan_out) * word for fan_in, fan_out in fans), reverse=True)
    found = [Size()]
    for nbytes in each:
        found += [found[-1] + Size(2 * n, n * nbytes) for n in range(1, depth + 1)]
    return tuple(found)


@lru_cache(maxsize=1024)
def network(room: Room) -> Size:
    """A plain Vision Transformer; what variants have beside it is below one per cent."""
    facts, width = room.facts, room.facts.width
    hidden, patch = facts.fan("f1")[1], facts.patch_size
    tokens = (room.side // patch) ** 2 + 1
    stem = room.of((width,), (tokens, width), (width, 3, patch, patch), (width,))
    norms = room.of((width,), (width,))
    attention = room.of((3 * width, width), (3 * width,), (width, width), (width,))
    mlp = room.of((hidden, width), (hidden,), (width, hidden), (width,))
    return stem + (norms.times(2) + attention + mlp).times(facts.blocks) + norms


def _linear(method: Any, room: Room) -> Stored:
    return [_head(room)] * len(room.stages)


def _finetuned(method: Any, room: Room) -> Stored:
    return [_head(room) | {"vit": network(room)}] * len(room.stages)


def _slca(method: SlcaConfig, room: Room) -> Stored:
    width = room.facts.width
    rows = width if room.images is None else min(room.images, width)
    each = room.of((width,), (rows, width), word=DOUBLE)
    aligned = {"aligned": _head(room)["head"]} if method.align_epochs > 0 else {}
    return [
        groups | {f"class.{t}": each.times(room.stages[t])} | (aligned if t > 0 else {})
        for t, groups in enumerate(_finetuned(method, room))
    ]


def _ewc(method: EwcConfig, room: Room) -> Stored:
    full = method.scope == "full"
    weights = network(room) if full else _modules(method, room, method.rank)[-1]
    return [_head(room) | {"weights": weights, "fisher": weights}] * len(room.stages)


def _one_module(method: AdapterFields, room: Room) -> Stored:
    return [_head(room) | {"lora": _modules(method, room, method.rank)[-1]}] * len(room.stages)


def _joint_lora(method: JointLoraConfig, room: Room) -> Stored:
    return [_head(room) | {"lora": _modules(method, room, method.rank * room.context.tasks)[-1]}]


def _module_each(method: AdapterFields, room: Room) -> Stored:
    module = _modules(method, room, method.rank)[-1]
    return [_head(room) | {f"lora.{t}": module} for t in range(len(room.stages))]


def _sd_lora(method: AdapterFields, room: Room) -> Stored:
    found = _module_each(method, room)
    if method.matrices(room.facts.blocks) == 0:
        return found
    return [groups | {f"magnitudes.{t}": room.of((t + 1,))} for t, groups in enumerate(found)]


def _inflora(method: InfLoraConfig, room: Room) -> Stored:
    """Sites that read one layer's input share A. A basis has at most half of the directions."""
    fans = {site: room.facts.fan(site) for site in method.ordered_sites()}
    inputs = {"qkv" if site in "qkv" else site: fan_in for site, (fan_in, _) in fans.items()}
    depth = method.adapted_blocks(room.facts.blocks)
    ups = room.of(*((fan_out, method.rank) for _, fan_out in fans.values()))
    downs = room.of(*((method.rank, fan_in) for fan_in in inputs.values()))
    bases = room.of(*((fan_in, fan_in // 2) for fan_in in inputs.values()), word=DOUBLE)
    sides = Size(len(inputs), len(inputs))  # one truth value for each basis
    module, basis = (ups + downs).times(depth), (bases + sides).times(depth)
    return [_head(room) | {f"lora.{t}": module, "basis": basis} for t in range(len(room.stages))]


def _lorac_ipc(method: LoracIpcConfig, room: Room) -> Stored:
    matrices, head = method.matrices(room.facts.blocks), _head(room)
    modules, trace = _modules(method, room, method.rank), method.trace_settings(room.context)
    found: Stored = []
    for t, frozen in enumerate(method.forecast(room.context)):
        rows, steps = 1 if trace.target == "factors" else trace.window, room.steps[t]
        if steps is not None and trace.target != "factors":
            rows = min(rows, -(-steps // trace.every))
        weights = room.of((matrices, t + 1))
        groups = {
            f"lora.{t}": modules[matrices - frozen],
            f"omega.{t}": weights,
            f"frozen.{t}": Size(1, matrices),
            f"trace.{t}": room.of((rows, matrices)),
        }
        if t > 0 and frozen < matrices and method.module_weights == "live":
            groups["live"] = weights
        found.append(head | groups)
    return found


def _class_means(method: NearestClassMeanConfig, room: Room) -> Stored:
    bias = [()] if method.metric == "euclid" else []
    each = room.of((room.facts.width,), *bias)
    return [{f"mean.{t}": each.times(classes)} for t, classes in enumerate(room.stages)]


def _ranpac(method: RanpacConfig, room: Room) -> Stored:
    width = method.projection or room.facts.width
    column = room.of((width,), word=DOUBLE)
    sums = room.of((width * (width + 1) // 2,), (), word=DOUBLE)  # and the penalty
    session = {"lora": _modules(method, room, method.rank)[-1]}
    return [
        {"sums": sums, f"target.{t}": column.times(classes)}
        | (session if method.trains_at(t, room.context) else {})
        for t, classes in enumerate(room.stages)
    ]


STORED: dict[str, Callable[[Any, Room], Stored]] = {
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
"""What each method's `end_task` returns, by `kind`."""
