"""Extension of a finished run by a new task.

An extended stream has one more task than its base stream. The class ids of the new task follow the
ids of the base stream, so that a head with one row per class grows at its end. Training,
evaluation and export use `groups`, `sequence` and `facts` of a stream, and therefore also work
with an extended stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

from clmethods.canonical import JsonValue
from clmethods.catalog.facts import USER_DATASETS, DatasetFacts, GivenTask
from clmethods.config.from_dict import run_from_dict
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """New task with some classes of another stream, from all of its domains."""

    stream: StreamConfig
    """Source and split of the images. Its tasks and orders have no effect."""
    classes: tuple[int, ...]
    """Class ids in the dataset of `stream`, in ascending order."""

    def __post_init__(self) -> None:
        total = self.stream.facts.classes
        refuse(
            [
                require(
                    len(self.classes) > 0
                    and list(self.classes) == sorted(set(self.classes))
                    and 0 <= self.classes[0] <= self.classes[-1] < total,
                    "classes",
                    self.classes,
                    f"one or more ids from 0 to {total - 1}, ascending, each once",
                )
            ]
        )

    @property
    def name(self) -> str:
        """Name of the dataset, of the folder of the images, or of the manifest."""
        if self.stream.manifest is not None:
            return Path(self.stream.manifest).stem
        if self.stream.dataset in USER_DATASETS and self.stream.root is not None:
            return Path(self.stream.root).name
        return self.stream.dataset

    def identity(self) -> dict[str, JsonValue]:
        """Return the properties that identify the images of the task, at any position."""
        facts = self.stream.facts
        return {
            "dataset": self.stream.dataset,
            "version": facts.version,
            "domain": "",
            "classes": list(self.classes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedStream(StreamConfig):
    """Stream with the tasks of `base` and one `added` task.

    It is created by `extended`, which sets the inherited fields.
    """

    base: StreamConfig
    added: NewTask
    added_first: bool = False
    """True puts the added task first, to measure its accuracy without earlier tasks."""

    def __post_init__(self) -> None:
        """Check nothing, because `base` and `added` are already valid."""

    @property
    def facts(self) -> DatasetFacts:
        """Labels, tasks and version of both parts together."""
        base, added = self.base.facts, self.added.stream.facts
        total = base.classes + len(self.added.classes)
        new = GivenTask(self.added.name, tuple(range(base.classes, total)))
        return DatasetFacts(
            version=f"{base.version}+{added.version}",
            classes=total,
            tasks=self.base.tasks + 1,
            given=(*base.given, new) if base.given else (),
            class_names=self._class_names(),
        )

    def _class_names(self) -> tuple[str, ...]:
        """Return the class names of both parts, each name once.

        Without names, a class of the base is named by its id, and an added class by its dataset
        and its id there, such as `glyph100:3`. An added class whose name occurs in the base is
        distinguished by its task, such as `cat (task 2)`.
        """
        names = self.base.names_of(range(self.base.facts.classes))
        facts, dataset = self.added.stream.facts, self.added.stream.dataset
        for label in self.added.classes:
            name = facts.class_names[label] if facts.class_names else f"{dataset}:{label}"
            names.append(name if name not in names else f"{name} (task {self.base.tasks})")
        return tuple(names)

    @property
    def settled(self) -> bool:
        """True if both parts are settled."""
        return self.base.settled and self.added.stream.settled

    def identity(self) -> dict[str, JsonValue]:
        """Return the identities of both parts, in which files are identified by their content."""
        added = self.added.stream.identity() | {"classes": list(self.added.classes)}
        return {
            "base": self.base.identity(),
            "added": added,
            "added_first": self.added_first,
        }

    @property
    def order(self) -> tuple[int, ...]:
        """Task order: the order of the base, and the new task last, or first if `added_first`."""
        new = self.base.tasks
        return (new, *self.base.order) if self.added_first else (*self.base.order, new)

    def groups(self) -> tuple[TaskGroup, ...]:
        """Return the groups of the base, and a group of the new classes with the next ids."""
        first = self.base.facts.classes
        new = tuple(range(first, first + len(self.added.classes)))
        return (*self.base.groups(), TaskGroup(self.base.tasks, new, name=self.added.name))

    def sequence(self) -> tuple[TaskGroup, ...]:
        """Return the groups in the order in which they are learned."""
        groups = self.groups()
        return tuple(groups[index] for index in self.order)


def extended(run: RunConfig, added: NewTask) -> RunConfig:
    """Return the run with one more task.

    Raises `InvalidConfigError` if the method trains on all tasks at once and cannot be continued.
    """
    if run.method.ORDER_FREE:
        hint = "It trains on all tasks at once: train it again on all tasks."
        raise InvalidConfigError(
            [
                ConfigIssue(
                    "method.kind", run.method.kind, "a method that trains task after task", hint
                )
            ]
        )
    base = run.stream
    inherited = {f.name: getattr(base, f.name) for f in fields(StreamConfig)}
    inherited |= {"tasks": base.tasks + 1, "task_order": None}
    return replace(run, stream=ExtendedStream(**inherited, base=base, added=added))


def as_trained(run: RunConfig, position: int) -> RunConfig:
    """Return the run that trained the task at `position`, without tasks that were added later."""
    while isinstance(run.stream, ExtendedStream) and position < run.stream.base.tasks:
        run = replace(run, stream=run.stream.base)
    return run


def unextended(run: RunConfig) -> tuple[RunConfig, tuple[NewTask, ...]]:
    """Return the original run and the tasks that were added to it, in order."""
    added: list[NewTask] = []
    while isinstance(run.stream, ExtendedStream):
        added.insert(0, run.stream.added)
        run = replace(run, stream=run.stream.base)
    return run, tuple(added)


def resizings(stream: StreamConfig) -> list[Literal["stretch", "crop"]]:
    """Return the resizing of the base stream's images, and those of added tasks that differ."""
    found = []
    while isinstance(stream, ExtendedStream):
        found.append(stream.added.stream.resizing)
        stream = stream.base
    return list(dict.fromkeys([stream.resizing, *reversed(found)]))


def new_task_to_dict(task: NewTask) -> dict[str, object]:
    """Return a dict of the stream's fields and `classes`, in the form of `new_task_from_dict`."""
    return asdict(task.stream) | {"classes": list(task.classes)}


def new_task_from_dict(data: Mapping[str, object]) -> NewTask:
    """Return the task in a dict of a stream's fields and `classes`.

    `classes` is a list of class ids, by default all classes of the dataset. Raises
    `InvalidConfigError` if a field is invalid.
    """
    stream = run_from_dict({"stream": {k: v for k, v in data.items() if k != "classes"}}).stream
    classes = data.get("classes")
    if classes is None:
        classes = range(stream.facts.classes)
    if not isinstance(classes, list | tuple | range) or not all(
        isinstance(label, int) and not isinstance(label, bool) for label in classes
    ):
        raise InvalidConfigError([ConfigIssue("classes", classes, "a list of class ids")])
    return NewTask(stream=stream, classes=tuple(classes))
