"""Stage keys: what the state after each task depends on, and nothing else.

A trial is a chain of stages. The key of a stage hashes the key of its parent and what, in effect,
acts at its own position; so two trials share every stage up to the first in which they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from clmethods.config.canonical import fingerprint, short_id
from clmethods.config.extension import ExtendedStream
from clmethods.config.methods import NearestClassMeanConfig
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig, TaskGroup

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
    stream, train = run.stream, run.train
    trained = asdict(train) | {"lr": train.lr_at(position)}
    del trained["lr_first_task"]
    if train.augment == "none":
        del trained["augment"]
    if train.schedule == "constant":
        del trained["lr_min"]
    if train.optimizer == "adamw" and train.weight_decay == 0:
        trained["optimizer"] = "adam"  # they differ by how weights decay alone
    acts: dict[str, Any] = {
        "backbone": run.backbone.identity(),
        "data": stream.effect(),
        "method": {"kind": run.method.kind, "version": run.method.VERSION}
        | run.method.effect(position, run.context),
        "train": trained,
        "seed": run.seed,
    }
    if not run.method.trains_at(position, run.context):
        acts["train"] = {name: trained[name] for name in ("precision", "device", "threads")}
    if not run.method.draws_at(position, run.context):
        del acts["seed"]
    return acts


def stage_chain(run: RunConfig) -> tuple[StageSpec, ...]:
    """The stages of a run, in order. `run` must be resolved, so that its weights are known."""
    if isinstance(run.stream, ExtendedStream):
        return _extended_chain(run, run.stream)
    sequence = run.stream.sequence()
    chain: list[StageSpec] = []
    for position in range(run.stages):
        groups = (sequence[position],) if not run.method.ORDER_FREE else run.stream.groups()
        identity = task_key(run.stream, groups)
        effect = stage_effect(run, position)
        parent = chain[-1].key if chain else None
        key = fingerprint(
            {
                "format": STAGE_FORMAT,
                "parent": parent,
                "position": position,
                "task": identity,
                "effect": effect,
            }
        )
        chain.append(StageSpec(key, parent, position, groups, identity, effect))
    return tuple(chain)


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
    groups = run.stream.groups()
    parts = [[g.domain, *g.classes] if g.domain else list(g.classes) for g in groups]
    return short_id(parts)
