"""Stage keys: hashes of exactly those settings that the state after a task depends on.

A trial is a chain of stages. The key of a stage is a hash of its parent's key and of the settings
that act at its position. Two trials therefore share all stages before their first difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from clmethods.canonical import JsonValue, canonical_json, fingerprint, short_id
from clmethods.config.backbone import BackboneConfig
from clmethods.config.extension import ExtendedStream
from clmethods.config.methods import EffectContext, MethodConfig, NearestClassMeanConfig
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.config.train import TrainConfig

STAGE_FORMAT = 1
"""Version of stored stages, increased when their meaning or their layout changes."""
CUDA_VERSION = 2
"""Version of the computation on GPUs, increased when the bits of results change on them alone. In
version 2, pixels are transformed on the GPU, and TF32 is used only if it is allowed."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Stage of a chain, which trains the task at `position` from the state of `parent`."""

    key: str
    """Stage key, 64 hex digits."""
    parent: str | None
    """Key of the previous stage; None for the first stage."""
    position: int
    groups: tuple[TaskGroup, ...]
    """Groups that are trained: one, or all groups for a joint method."""
    task_key: str
    effect: dict[str, JsonValue]
    """Settings that act at this stage, in canonical form. `sweeps why` compares them."""

    @property
    def classes(self) -> tuple[int, ...]:
        """Original ids of the classes that are trained, in ascending order."""
        return tuple(sorted({c for group in self.groups for c in group.classes}))


def task_key(stream: StreamConfig, groups: Sequence[TaskGroup]) -> str:
    """Return the id of a task at any position: its dataset, version, domain and classes.

    The id of a joint task over several domains is derived from the sorted list of its domains.
    """
    version = stream.facts.version
    domains = sorted({group.domain for group in groups})
    if len(domains) == 1:
        classes = sorted(c for group in groups for c in group.classes)
        return short_id([stream.dataset, version, domains[0], classes])
    parts = sorted([group.domain, list(group.classes)] for group in groups)
    return short_id([stream.dataset, version, parts])


def stage_effect(run: RunConfig, position: int) -> dict[str, JsonValue]:
    """Return the settings that act at `position`: data, backbone, training, method and seed."""
    method = _method_effect(run.method, position, run.context)
    acts: dict[str, JsonValue] = {
        "backbone": run.backbone.identity(),
        "data": run.stream.effect(),
        "method": method.effect,
        "train": _train_effect(run.train, position == 0, method.trains),
        "seed": run.seed,
    }
    if not method.draws:
        del acts["seed"]
    return acts


@dataclass(frozen=True, slots=True, eq=False)
class _MethodEffect:
    """Effect of a method at one position. It is cached and shared: do not modify it."""

    effect: dict[str, JsonValue]
    trains: bool
    draws: bool


@lru_cache(maxsize=16384)
def _method_effect(method: MethodConfig, position: int, context: EffectContext) -> _MethodEffect:
    identity = {"kind": method.kind, "version": method.VERSION}
    return _MethodEffect(
        identity | method.effect(position, context),
        method.trains_at(position, context),
        method.draws_at(position, context),
    )


@lru_cache(maxsize=16384)
def _method_text(method: MethodConfig, position: int, context: EffectContext) -> str:
    return canonical_json(_method_effect(method, position, context).effect)


_MACHINE = ("precision", "tf32", "device", "cuda", "threads")
"""Settings that change the bits of features, so that they act without training, too."""
_TRAIN_FIELDS = tuple(f.name for f in fields(TrainConfig))


@lru_cache(maxsize=4096)
def _train_effect(train: TrainConfig, first: bool, trains: bool) -> dict[str, JsonValue]:
    # All fields are scalars; `asdict` copies each of them, which a plan of many runs would notice.
    acts: dict[str, JsonValue] = {name: getattr(train, name) for name in _TRAIN_FIELDS}
    acts["lr"] = train.lr_at(0 if first else 1)
    if not train.tf32_acts:
        del acts["tf32"]
    if not train.compile:
        del acts["compile"]
    if train.device == "cuda":
        acts["cuda"] = CUDA_VERSION
    if not trains:
        return {name: acts[name] for name in _MACHINE if name in acts}
    del acts["lr_first_task"]
    if train.augment == "none":
        del acts["augment"]
    if train.schedule == "constant":
        del acts["lr_min"]
    if train.optimizer == "adamw" and train.weight_decay == 0:
        acts["optimizer"] = "adam"  # they only differ in weight decay
    return acts


def acts_alike(run: RunConfig, other: RunConfig) -> bool:
    """Return True if both runs have the same stages when their task orders are equal.

    The comparison stops at the first difference.
    """
    if run.stages != other.stages:
        return False
    context = another = run.context
    if run.backbone is not other.backbone or run.stream is not other.stream:
        if run.backbone.identity() != other.backbone.identity():
            return False
        tasks, other_tasks = _tasks(run.stream), _tasks(other.stream)
        if (tasks.groups_id, tasks.data) != (other_tasks.groups_id, other_tasks.data):
            return False
        another = other.context
    same = run.method is other.method and context is another
    for position in range(run.stages):
        left = _method_effect(run.method, position, context)
        right = left if same else _method_effect(other.method, position, another)
        if left is right and run.train == other.train and run.seed == other.seed:
            continue
        if left is not right and (left.effect, left.draws) != (right.effect, right.draws):
            return False
        train = _train_effect(run.train, position == 0, left.trains)
        if train != _train_effect(other.train, position == 0, right.trains):
            return False
        if left.draws and run.seed != other.seed:
            return False
    return True


def effect_id(run: RunConfig) -> str:
    """Return an id that two runs share if their stages are equal apart from the task order."""
    digest = hashlib.sha256(f"{_tasks(run.stream).groups_id} {run.seed}".encode())
    for acts in _stage_effects(run):
        digest.update(f"{acts.before}{acts.draws}{acts.after}".encode())
    return digest.hexdigest()


def stage_chain(run: RunConfig) -> tuple[StageSpec, ...]:
    """Return the stages of a run in order. `run` must be resolved, so that its weights are known.

    A key is the fingerprint of {format, parent, position, task, effect}. For speed, its canonical
    JSON is assembled from strings that are cached for all seeds and orders of a configuration.
    """
    if isinstance(run.stream, ExtendedStream):
        return _extended_chain(run, run.stream)
    tasks, seed = _tasks(run.stream), canonical_json(run.seed)
    chain: list[StageSpec] = []
    parent: str | None = None
    for position, acts in enumerate(_stage_effects(run)):
        if run.method.ORDER_FREE:
            groups, identity = tasks.groups, tasks.joint
        else:
            groups, identity = (tasks.sequence[position],), tasks.identities[position]
        drawn = f'"seed":{seed},' if acts.draws else ""
        above = f'"{parent}"' if parent else "null"
        text = (
            f'{acts.before}{drawn}{acts.after},"format":{STAGE_FORMAT},"parent":{above},'
            f'"position":{position},"task":"{identity}"}}'
        )
        key = hashlib.sha256(text.encode()).hexdigest()
        effect = acts.effect | {"seed": run.seed} if acts.draws else acts.effect
        chain.append(StageSpec(key, parent, position, groups, identity, effect))
        parent = key
    return tuple(chain)


@dataclass(frozen=True, slots=True)
class _Tasks:
    """Properties of a stream that stage keys depend on."""

    groups: tuple[TaskGroup, ...]
    groups_id: str
    sequence: tuple[TaskGroup, ...]
    identities: tuple[str, ...]
    """Task keys in the order of learning."""
    joint: str
    """Task key of all groups together."""
    data: str
    """Canonical JSON of the effect of the stream."""


def _tasks(stream: StreamConfig) -> _Tasks:
    return (_cached_tasks if stream.settled else _read_tasks)(stream)


def _read_tasks(stream: StreamConfig) -> _Tasks:
    groups, sequence = stream.groups(), stream.sequence()
    identities = tuple(task_key(stream, (group,)) for group in sequence)
    data = canonical_json(stream.effect())
    joint, groups_id = task_key(stream, groups), fingerprint(groups)
    return _Tasks(groups, groups_id, sequence, identities, joint, data)


_cached_tasks = lru_cache(maxsize=4096)(_read_tasks)


@dataclass(frozen=True, slots=True, eq=False)
class _StageEffect:
    """Effect of a run at one position, without the seed. It is cached: do not modify it."""

    effect: dict[str, JsonValue]
    draws: bool
    """True if the seed acts."""
    before: str
    """Canonical JSON of the key's content, up to the seed."""
    after: str
    """Canonical JSON after the seed, up to the end of the effect."""


def _stage_effects(run: RunConfig) -> tuple[_StageEffect, ...]:
    data = _tasks(run.stream).data
    return _cached_stage_effects(
        run.backbone, run.method, run.train, data, run.context, run.stages
    )


@lru_cache(maxsize=32768)  # the number of configurations of a large sweep
def _cached_stage_effects(
    backbone: BackboneConfig,
    method: MethodConfig,
    train: TrainConfig,
    data: str,
    context: EffectContext,
    stages: int,
) -> tuple[_StageEffect, ...]:
    identity, backbone_text = _backbone_identity(backbone)
    of_stream = _stream_effect(data)
    effects: list[_StageEffect] = []
    for position in range(stages):
        acts = _method_effect(method, position, context)
        of_train = _train_effect(train, position == 0, acts.trains)
        effect: dict[str, JsonValue] = {
            "backbone": identity,
            "data": of_stream,
            "method": acts.effect,
            "train": of_train,
        }
        if effects and effect == effects[-1].effect and acts.draws == effects[-1].draws:
            effects.append(effects[-1])
            continue
        method_text = _method_text(method, position, context)
        before = f'{{"effect":{{"backbone":{backbone_text},"data":{data},"method":{method_text},'
        after = f'"train":{_train_text(train, position == 0, acts.trains)}}}'
        effects.append(_StageEffect(effect, acts.draws, before, after))
    return tuple(effects)


@lru_cache(maxsize=1024)
def _backbone_identity(backbone: BackboneConfig) -> tuple[dict[str, JsonValue], str]:
    """Return (identity, its canonical JSON). They are cached: do not modify them."""
    identity = backbone.identity()
    return identity, canonical_json(identity)


@lru_cache(maxsize=4096)
def _stream_effect(data: str) -> dict[str, JsonValue]:
    """Return the effect of a stream from its canonical JSON. It is cached: do not modify it."""
    effect: dict[str, JsonValue] = json.loads(data)
    return effect


@lru_cache(maxsize=4096)
def _train_text(train: TrainConfig, first: bool, trains: bool) -> str:
    return canonical_json(_train_effect(train, first, trains))


def _extended_chain(run: RunConfig, stream: ExtendedStream) -> tuple[StageSpec, ...]:
    """Return the chain of the base run and a stage of the added task, keyed by its own data."""
    base = stage_chain(replace(run, stream=stream.base))
    position, added = len(base), stream.added
    alone = replace(run, stream=added.stream, method=NearestClassMeanConfig())
    acts = stage_effect(run, position)
    acts["data"] = alone.stream.effect() | {"first_class": stream.base.facts.classes}
    identity = short_id(added.identity())
    group = stream.groups()[-1]
    parent = base[-1].key
    key = stage_key(parent, position, identity, acts)
    return (*base, StageSpec(key, parent, position, (group,), identity, acts))


def stage_key(
    parent: str | None, position: int, task: str, effect: Mapping[str, JsonValue]
) -> str:
    """Return the key of a stage from the fields that its marker contains."""
    return fingerprint(
        {
            "format": STAGE_FORMAT,
            "parent": parent,
            "position": position,
            "task": task,
            "effect": effect,
        }
    )


def evaluation_id(readout: ReadoutConfig, partition: str) -> str:
    """Return the id under which a stage's counts are stored: the readout and the partition."""
    return short_id([readout.fingerprint, partition])


def partition_id(run: RunConfig) -> str:
    """Return the id of the grouping of images into tasks.

    Task-incremental evaluations depend on it.
    """
    return _partition_id(_tasks(run.stream).groups)


@lru_cache(maxsize=1024)
def _partition_id(groups: tuple[TaskGroup, ...]) -> str:
    return short_id([[g.domain, *g.classes] if g.domain else list(g.classes) for g in groups])
