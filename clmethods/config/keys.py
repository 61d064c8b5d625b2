"""Stage keys: what the state after each task depends on, and nothing else.

A trial is a chain of stages. The key of a stage hashes the key of its parent and what, in effect,
acts at its own position; so two trials share every stage up to the first in which they differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from clmethods.canonical import canonical_json, fingerprint, short_id
from clmethods.config.backbone import BackboneConfig
from clmethods.config.extension import ExtendedStream
from clmethods.config.methods import EffectContext, MethodConfig, NearestClassMeanConfig
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.config.train import TrainConfig

STAGE_FORMAT = 1
"""Bumped when the meaning or the layout of a stored stage changes."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage of a chain: train the task at `position` from the state of `parent`."""

    key: str
    """64 hex digits."""
    parent: str | None
    position: int
    groups: tuple[TaskGroup, ...]
    """What is trained on: one group, or all of them for a joint method."""
    task_key: str
    effect: dict[str, Any]
    """What acts here, in canonical form; `sweeps why` compares these."""

    @property
    def classes(self) -> tuple[int, ...]:
        """Original ids of the classes trained here, ascending."""
        return tuple(sorted({c for group in self.groups for c in group.classes}))


def task_key(stream: StreamConfig, groups: Sequence[TaskGroup]) -> str:
    """Identity of a task wherever it comes in the sequence: dataset, version, domain, classes.

    A joint task over several domains is the list of them, in no order of its own.
    """
    version = stream.facts.version
    domains = sorted({group.domain for group in groups})
    if len(domains) == 1:
        classes = sorted(c for group in groups for c in group.classes)
        return short_id([stream.dataset, version, domains[0], classes])
    parts = sorted([group.domain, list(group.classes)] for group in groups)
    return short_id([stream.dataset, version, parts])


def stage_effect(run: RunConfig, position: int) -> dict[str, Any]:
    """What, in effect, acts at `position`: data, backbone, training, method and seed."""
    method = _method_acts(run.method, position, run.context)
    acts: dict[str, Any] = {
        "backbone": run.backbone.identity(),
        "data": run.stream.effect(),
        "method": method.effect,
        "train": _trained(run.train, position == 0, method.trains),
        "seed": run.seed,
    }
    if not method.draws:
        del acts["seed"]
    return acts


@dataclass(frozen=True, slots=True, eq=False)
class _MethodActs:
    """What of a method acts at one position. Shared by all that ask: nobody may change it."""

    effect: dict[str, Any]
    trains: bool
    draws: bool


@lru_cache(maxsize=16384)
def _method_acts(method: MethodConfig, position: int, context: EffectContext) -> _MethodActs:
    named = {"kind": method.kind, "version": method.VERSION}
    return _MethodActs(
        named | method.effect(position, context),
        method.trains_at(position, context),
        method.draws_at(position, context),
    )


@lru_cache(maxsize=16384)
def _method_text(method: MethodConfig, position: int, context: EffectContext) -> str:
    return canonical_json(_method_acts(method, position, context).effect)


@lru_cache(maxsize=4096)
def _trained(train: TrainConfig, first: bool, trains: bool) -> dict[str, Any]:
    trained = asdict(train) | {"lr": train.lr_at(0 if first else 1)}
    if not trains:
        return {name: trained[name] for name in ("precision", "device", "threads")}
    del trained["lr_first_task"]
    if train.augment == "none":
        del trained["augment"]
    if train.schedule == "constant":
        del trained["lr_min"]
    if train.optimizer == "adamw" and train.weight_decay == 0:
        trained["optimizer"] = "adam"  # they differ by how weights decay alone
    return trained


def acts_alike(run: RunConfig, other: RunConfig) -> bool:
    """Whether every stage of both is the same, orders apart; the first difference ends it."""
    if run.stages != other.stages:
        return False
    context = another = run.context
    if run.backbone is not other.backbone or run.stream is not other.stream:
        if run.backbone.identity() != other.backbone.identity():
            return False
        mine, theirs = _tasks(run.stream), _tasks(other.stream)
        if (mine.groups_id, mine.data) != (theirs.groups_id, theirs.data):
            return False
        another = other.context
    same = run.method is other.method and context is another
    for position in range(run.stages):
        left = _method_acts(run.method, position, context)
        right = left if same else _method_acts(other.method, position, another)
        if left is right and run.train == other.train and run.seed == other.seed:
            continue
        if left is not right and (left.effect, left.draws) != (right.effect, right.draws):
            return False
        trained = _trained(run.train, position == 0, left.trains)
        if trained != _trained(other.train, position == 0, right.trains):
            return False
        if left.draws and run.seed != other.seed:
            return False
    return True


def effect_id(run: RunConfig) -> str:
    """Equal for runs that share every stage where their task orders are equal."""
    found = hashlib.sha256(f"{_tasks(run.stream).groups_id} {run.seed}".encode())
    for acts in _acts(run):
        found.update(f"{acts.before}{acts.draws}{acts.after}".encode())
    return found.hexdigest()


def stage_chain(run: RunConfig) -> tuple[StageSpec, ...]:
    """The stages of a run, in order. `run` must be resolved, so that its weights are known.

    A key is the fingerprint of {format, parent, position, task, effect}. Its canonical JSON is
    put together from texts that the seeds and orders of a configuration share.
    """
    if isinstance(run.stream, ExtendedStream):
        return _extended_chain(run, run.stream)
    tasks, seed = _tasks(run.stream), canonical_json(run.seed)
    chain: list[StageSpec] = []
    parent: str | None = None
    for position, acts in enumerate(_acts(run)):
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
    """What stage keys read of a stream."""

    groups: tuple[TaskGroup, ...]
    groups_id: str
    sequence: tuple[TaskGroup, ...]
    identities: tuple[str, ...]
    """Task keys in the order of learning."""
    joint: str
    """Task key of all of them at once."""
    data: str
    """Canonical JSON of the stream's effect."""


def _tasks(stream: StreamConfig) -> _Tasks:
    return (_kept_tasks if stream.settled else _read_tasks)(stream)


def _read_tasks(stream: StreamConfig) -> _Tasks:
    groups, sequence = stream.groups(), stream.sequence()
    identities = tuple(task_key(stream, (group,)) for group in sequence)
    data = canonical_json(stream.effect())
    joint, groups_id = task_key(stream, groups), fingerprint(groups)
    return _Tasks(groups, groups_id, sequence, identities, joint, data)


_kept_tasks = lru_cache(maxsize=4096)(_read_tasks)


@dataclass(frozen=True, slots=True, eq=False)
class _StageActs:
    """What acts at one position, whatever the seed. Shared: nobody may change it."""

    effect: dict[str, Any]
    """Without the seed."""
    draws: bool
    before: str
    """Canonical JSON of what goes into the key, up to the seed."""
    after: str
    """From the seed to the end of the effect."""


def _acts(run: RunConfig) -> tuple[_StageActs, ...]:
    data = _tasks(run.stream).data
    return _kept_acts(run.backbone, run.method, run.train, data, run.context, run.stages)


@lru_cache(maxsize=32768)  # as many configurations as a large sweep has
def _kept_acts(
    backbone: BackboneConfig,
    method: MethodConfig,
    train: TrainConfig,
    data: str,
    context: EffectContext,
    stages: int,
) -> tuple[_StageActs, ...]:
    identity, backbone_text = _identity(backbone)
    given = _read(data)
    found: list[_StageActs] = []
    for position in range(stages):
        acts = _method_acts(method, position, context)
        trained = _trained(train, position == 0, acts.trains)
        effect = {"backbone": identity, "data": given, "method": acts.effect, "train": trained}
        if found and effect == found[-1].effect and acts.draws == found[-1].draws:
            found.append(found[-1])
            continue
        method_text = _method_text(method, position, context)
        before = f'{{"effect":{{"backbone":{backbone_text},"data":{data},"method":{method_text},'
        after = f'"train":{_train_text(train, position == 0, acts.trains)}}}'
        found.append(_StageActs(effect, acts.draws, before, after))
    return tuple(found)


@lru_cache(maxsize=1024)
def _identity(backbone: BackboneConfig) -> tuple[dict[str, Any], str]:
    """(identity, its canonical JSON). Shared: nobody may change it."""
    identity = backbone.identity()
    return identity, canonical_json(identity)


@lru_cache(maxsize=4096)
def _read(data: str) -> dict[str, Any]:
    """A stream's effect from its canonical JSON. Shared: nobody may change it."""
    found: dict[str, Any] = json.loads(data)
    return found


@lru_cache(maxsize=4096)
def _train_text(train: TrainConfig, first: bool, trains: bool) -> str:
    return canonical_json(_trained(train, first, trains))


def _extended_chain(run: RunConfig, stream: ExtendedStream) -> tuple[StageSpec, ...]:
    """The chain of the run below, and one stage more, keyed by the new task's own data."""
    before = stage_chain(replace(run, stream=stream.base))
    position, added = len(before), stream.added
    data = stage_effect(replace(run, stream=added.stream, method=NearestClassMeanConfig()), 0)
    acts = stage_effect(run, position)
    acts["data"] = data["data"] | {"first_class": stream.base.facts.classes}
    identity = short_id(added.identity())
    group = stream.groups()[-1]
    parent = before[-1].key
    key = fingerprint(
        {
            "format": STAGE_FORMAT,
            "parent": parent,
            "position": position,
            "task": identity,
            "effect": acts,
        }
    )
    return (*before, StageSpec(key, parent, position, (group,), identity, acts))


def evaluation_id(readout: ReadoutConfig, partition: str) -> str:
    """Under which a stage's counts are kept: the readout, and how classes form tasks."""
    return short_id([readout.fingerprint, partition])


def partition_id(run: RunConfig) -> str:
    """Identity of how the images are grouped; evaluations with the task given depend on it."""
    return _partition_id(_tasks(run.stream).groups)


@lru_cache(maxsize=1024)
def _partition_id(groups: tuple[TaskGroup, ...]) -> str:
    return short_id([[g.domain, *g.classes] if g.domain else list(g.classes) for g in groups])
